// Command network joins the pods of a node to those of the others: what kindnetd does in kind's own images, which no
// registry-less machine can have. It writes the CNI configuration of the node's pod range, keeps a route to the pod
// range of every other node (they share a link), and hides pods behind the node's address outside of the pod network.
package main

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// period is how often the nodes are looked at: a test cluster has four.
const period = time.Second

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, log); err != nil && !errors.Is(err, context.Canceled) {
		log.Error("cannot go on", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, log *slog.Logger) error {
	cluster, err := connect()
	if err != nil {
		return err
	}
	pods, err := prefixes(os.Getenv("POD_SUBNET"))
	if err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return err
	}
	if err := masquerade(pods); err != nil {
		return err
	}
	tick := time.NewTicker(period)
	defer tick.Stop()
	self, written := os.Getenv("NODE_NAME"), ""
	for {
		nodes, err := cluster.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err == nil {
			written, err = follow(nodes.Items, self, written)
		}
		if err != nil {
			log.Warn("nodes are not followed", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// connect reaches the API server by its own address where kind names one: the service address works only after
// kube-proxy does.
func connect() (*kubernetes.Clientset, error) {
	c, err := rest.InClusterConfig()
	if err != nil {
		return nil, err
	}
	if at := os.Getenv("CONTROL_PLANE_ENDPOINT"); at != "" {
		c.Host = "https://" + at
	}
	return kubernetes.NewForConfig(c)
}

// follow makes the node's CNI configuration and its routes those of the nodes. written is the pod range of the
// configuration that stands, and is returned anew.
func follow(nodes []corev1.Node, self, written string) (string, error) {
	var failed []error
	for _, n := range nodes {
		ranges, err := prefixes(strings.Join(n.Spec.PodCIDRs, ","))
		if err != nil || len(ranges) == 0 {
			failed = append(failed, err)
			continue
		}
		if n.Name != self {
			failed = append(failed, route(ranges, addresses(n)))
			continue
		}
		if now := strings.Join(n.Spec.PodCIDRs, ","); now != written {
			if err := writeConfiguration(ranges); err != nil {
				failed = append(failed, err)
				continue
			}
			written = now
		}
	}
	return written, errors.Join(failed...)
}

func addresses(n corev1.Node) []netip.Addr {
	var all []netip.Addr
	for _, a := range n.Status.Addresses {
		if a.Type != corev1.NodeInternalIP {
			continue
		}
		if ip, err := netip.ParseAddr(a.Address); err == nil {
			all = append(all, ip)
		}
	}
	return all
}

func prefixes(list string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, s := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}
