package k8s

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// Requests a second that the controller may send: a cold start writes the
// status of every service. The apiserver's own fairness protects the cluster.
const (
	requestsPerSecond = 200
	requestsAtOnce    = 400
)

// requestTimeout bounds a request that is no watch.
const requestTimeout = 10 * time.Second

// The files that a kubelet gives to a pod.
const (
	tokenFile     = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
)

// systemNamespace has the controller's own objects where it runs in no pod, and
// in the article the pods that run weir.
const systemNamespace = "kube-system"

// Options of Connect. The zero value is a pod's.
type Options struct {
	// Kubeconfig is a file; empty means the pod's service account.
	Kubeconfig string
	// Agent is the controller's name and version, for the apiserver's logs.
	Agent string
	// Namespace and Name of the controller's own objects: its Lease and its
	// ConfigMap. Optional; empty means the pod's namespace, or kube-system
	// outside of a pod, and kube-weir.
	Namespace, Name string
	// Identity is this process among those that want to lead, unique in the
	// cluster. One that comes back under its own name leads at once. Optional;
	// empty means the host's name with something random.
	Identity string
	// LeaseDuration is how long a leader that says nothing is waited for.
	// Optional; zero means 15 s, client-go's own for controllers.
	LeaseDuration time.Duration
	// Log is what this package and client-go say. Required.
	Log *slog.Logger
}

// Cluster is an apiserver and this process's place there.
type Cluster struct {
	client kubernetes.Interface
	// lease has a budget of its own: a thousand statuses must not delay the
	// renewal of the lease.
	lease  kubernetes.Interface
	server string
	opts   Options
	leader leaderName
}

// InPod says whether the process runs in a pod with a service account.
func InPod() bool {
	_, err := os.Stat(tokenFile)
	return err == nil && os.Getenv("KUBERNETES_SERVICE_HOST") != ""
}

// Connect makes the clients of a cluster. It asks the apiserver for nothing
// yet. client-go's own words, which are global, go to opts.Log from now on.
func Connect(opts Options) (*Cluster, error) {
	klog.SetSlogLogger(opts.Log)
	config, err := load(opts.Kubeconfig)
	if err != nil {
		return nil, err
	}
	opts.Namespace = cmp.Or(opts.Namespace, podNamespace(), systemNamespace)
	opts.Name = cmp.Or(opts.Name, "kube-weir")
	opts.LeaseDuration = cmp.Or(opts.LeaseDuration, leaseDuration)
	if opts.Identity == "" {
		if opts.Identity, err = randomIdentity(); err != nil {
			return nil, fmt.Errorf("name this process for the lease: %w; give --identity=NAME", err)
		}
	}
	c := &Cluster{server: config.Host, opts: opts}
	config.UserAgent = opts.Agent
	config.QPS, config.Burst = requestsPerSecond, requestsAtOnce
	if c.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("connect to the apiserver: %w", err)
	}
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = 0, 0
	config.Timeout = max(time.Second, opts.LeaseDuration/3)
	if c.lease, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("connect to the apiserver: %w", err)
	}
	return c, nil
}

// String names the cluster for people.
func (c *Cluster) String() string { return "cluster " + c.server }

// Namespaces are where the pods that run weir may be: the controller's own, and
// the one where the article has them. No tenant writes there.
func (c *Cluster) Namespaces() []string {
	return slices.Compact([]string{c.opts.Namespace, systemNamespace})
}

func load(path string) (*rest.Config, error) {
	if path == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("find the apiserver: %w; outside of a pod give --kubeconfig=FILE, or --manifests=DIR for no cluster", err)
		}
		return config, nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("read --kubeconfig: %w", err)
	}
	return config, nil
}

// podNamespace is empty outside of a pod.
func podNamespace() string {
	text, err := os.ReadFile(namespaceFile)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
