package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/weir-lb/weir/cmd/internal/version"
	"github.com/weir-lb/weir/controller/k8s"
)

// minLeaseDuration leaves a leader time to renew on a busy apiserver.
const minLeaseDuration = 3 * time.Second

// clusterFlags say where an apiserver is, and how one of several controllers
// leads there.
type clusterFlags struct {
	kubeconfig, namespace, identity string
	leaseDuration                   time.Duration
}

func (f *clusterFlags) define(set *pflag.FlagSet) {
	set.StringVar(&f.kubeconfig, "kubeconfig", "", "file that says where the apiserver is and who we are there (default: the pod's service account)")
	set.StringVar(&f.namespace, "namespace", "", "namespace of the controller's own Lease and ConfigMap, kube-weir both (default: the pod's, or kube-system)")
	set.StringVar(&f.identity, "identity", os.Getenv("POD_NAME"), "name of this process among those that want to lead; one that comes back under its name leads at once (default: $POD_NAME, or the host's name with something random)")
	set.DurationVar(&f.leaseDuration, "lease-duration", 15*time.Second, "how long a leader that says nothing is waited for, 3s or more; one that cannot renew for two thirds of it ends itself")
}

// source chooses where the objects come from: a folder, which leaves the
// options zero, or an apiserver.
func (f *flags) source() (k8s.Options, error) {
	c := f.cluster
	switch {
	case f.manifests != "" && c.kubeconfig != "":
		return k8s.Options{}, errors.New("read --manifests and --kubeconfig: both say where the objects are; give only one of them")
	case f.manifests != "":
		return k8s.Options{}, checkFolder(f.manifests)
	case c.kubeconfig == "" && !k8s.InPod():
		return k8s.Options{}, errors.New("no cluster given, and this is no pod with a service account; give --kubeconfig=FILE, " +
			"or --manifests=DIR with Services, EndpointSlices and Nodes")
	case c.leaseDuration < minLeaseDuration:
		return k8s.Options{}, fmt.Errorf("read --lease-duration: %s is too short; use %s or more", c.leaseDuration, minLeaseDuration)
	}
	if c.kubeconfig != "" {
		if _, err := os.Stat(c.kubeconfig); err != nil {
			return k8s.Options{}, fmt.Errorf("read --kubeconfig: %w; give the file that kubectl uses", err)
		}
	}
	return k8s.Options{
		Kubeconfig: c.kubeconfig, Namespace: c.namespace, Identity: c.identity, LeaseDuration: c.leaseDuration,
		Agent: "kube-weir/" + version.String(),
	}, nil
}

func checkFolder(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("read --manifests: %w; create the folder first", err)
	case !info.IsDir():
		return fmt.Errorf("read --manifests: %s is no folder; give the folder that it is in", path)
	}
	return nil
}
