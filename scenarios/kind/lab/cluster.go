package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/cluster/nodes"
	"sigs.k8s.io/kind/pkg/cluster/nodeutils"
)

// config is the cluster: the second master is a node that is made one, because a second control plane would bring
// another etcd and a balancer of its own, and weir needs neither. The network of its pods is not kind's, which has no
// overlay, but Network's. Kubelets look at their pods' Secrets more often than each minute, which is how long a spec
// would wait for new certificates.
const config = `kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking:
  disableDefaultCNI: true
  kubeProxyMode: iptables
kubeadmConfigPatches:
- |
  kind: KubeletConfiguration
  syncFrequency: 10s
nodes:
- role: control-plane
- role: worker
- role: worker
- role: worker
`

// readyTimeout is how long nodes may take; a cluster of four is up in a minute on an idle machine.
const readyTimeout = 5 * time.Minute

// Labels of masters; the first is also their taint. K3s, the article's, sets both, kubeadm only the first, and the
// article's DaemonSet wants both.
const (
	controlPlane = "node-role.kubernetes.io/control-plane"
	master       = "node-role.kubernetes.io/master"
)

// Cluster is a Kubernetes cluster with a client beside it.
type Cluster struct {
	Name             string
	Masters, Workers []Machine
	Client           Machine
	// ListenBGPPort is where weir speaks BGP; zero is BGP's own port. PeerClient tells the client.
	ListenBGPPort uint16

	provider    *cluster.Provider
	dir         string // kubeconfig and certificates, as long as the cluster stands
	clientImage string // what ci/images.sh made for the client: BIRD, ip and weir-topo
}

// Named is a cluster that may stand already. dir is a folder for its files.
func Named(name, dir string) *Cluster {
	return &Cluster{Name: name, dir: dir, provider: cluster.NewProvider(cluster.ProviderWithDocker())}
}

// Create makes the cluster of kind's node image, or of E2E_NODE_IMAGE. Its nodes are not ready: they have no network.
func (c *Cluster) Create(ctx context.Context) error {
	// kind has no other way to be told of a network. Its own is for all clusters of a machine.
	if err := os.Setenv("KIND_EXPERIMENTAL_DOCKER_NETWORK", c.Name); err != nil {
		return err
	}
	options := []cluster.CreateOption{
		cluster.CreateWithRawConfig([]byte(config)),
		cluster.CreateWithKubeconfigPath(c.kubeconfig()),
		cluster.CreateWithDisplayUsage(false),
		cluster.CreateWithDisplaySalutation(false),
	}
	if image := os.Getenv("E2E_NODE_IMAGE"); image != "" {
		options = append(options, cluster.CreateWithNodeImage(image))
	}
	if err := c.provider.Create(c.Name, options...); err != nil {
		return fmt.Errorf("create cluster %s: %w", c.Name, err)
	}
	if err := c.find(ctx); err != nil {
		return err
	}
	for _, m := range c.Masters {
		if err := c.promote(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// find looks up the machines: the first two nodes are masters.
func (c *Cluster) find(ctx context.Context) error {
	all, err := c.nodes()
	if err != nil {
		return err
	}
	var machines []Machine
	for _, n := range all {
		m, err := machine(ctx, n.String(), c.Name)
		if err != nil {
			return err
		}
		machines = append(machines, m)
	}
	if len(machines) != 4 {
		return fmt.Errorf("find the nodes of %s: %d, not 4", c.Name, len(machines))
	}
	c.Masters, c.Workers = machines[:2], machines[2:]
	return nil
}

// nodes are the cluster's, in the order of their names: control plane, worker, worker2, worker3.
func (c *Cluster) nodes() ([]nodes.Node, error) {
	all, err := c.provider.ListInternalNodes(c.Name)
	if err != nil {
		return nil, fmt.Errorf("list the nodes of %s: %w", c.Name, err)
	}
	slices.SortFunc(all, func(a, b nodes.Node) int { return strings.Compare(a.String(), b.String()) })
	return all, nil
}

// promote makes a node a master as far as pods see it, or adds what one lacks.
func (c *Cluster) promote(ctx context.Context, m Machine) error {
	if _, err := c.Kubectl(ctx, "label", "--overwrite", "node", m.Name, controlPlane+"=", master+"="); err != nil {
		return err
	}
	_, err := c.Kubectl(ctx, "taint", "--overwrite", "node", m.Name, controlPlane+"=:NoSchedule")
	return err
}

// Load brings images into all nodes out of archives, as a registry would.
func (c *Cluster) Load(archives ...string) error {
	all, err := c.nodes()
	if err != nil {
		return err
	}
	for _, archive := range archives {
		for _, n := range all {
			if err := load(n, archive); err != nil {
				return err
			}
		}
	}
	return nil
}

func load(n nodes.Node, archive string) (err error) {
	f, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("load image: %w; ci/images.sh makes it", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := nodeutils.LoadImageArchive(n, f); err != nil {
		return fmt.Errorf("load %s into %s: %w", archive, n, err)
	}
	return nil
}

// Kubectl runs kubectl on the first master, as the article does, and returns what it printed.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.Masters[0].Run(ctx, c.kubectl(args)...)
}

// feed hands objects to a command of kubectl that reads a file, and returns what it said of each.
func (c *Cluster) feed(ctx context.Context, yaml string, args ...string) (string, error) {
	return c.Masters[0].feed(ctx, yaml, c.kubectl(append(args, "-f", "-"))...)
}

func (c *Cluster) kubectl(args []string) []string {
	return append([]string{"kubectl", "--kubeconfig=/etc/kubernetes/admin.conf"}, args...)
}

func (c *Cluster) kubeconfig() string { return filepath.Join(c.dir, "kubeconfig") }

// Delete removes the cluster, what else it has of containers, and its network; what is not there is no error.
func (c *Cluster) Delete(ctx context.Context) error {
	err := errors.Join(c.provider.Delete(c.Name, c.kubeconfig()), removeContainer(ctx, c.clientName()), removeContainer(ctx, c.hostName()))
	runtime.GC() // kind leaves the kubeconfig that it has read open until then (read.go of v0.33)
	if _, gone := docker(ctx, nil, "network", "inspect", c.Name); gone != nil {
		return err
	}
	_, failed := docker(ctx, nil, "network", "rm", c.Name)
	return errors.Join(err, failed)
}
