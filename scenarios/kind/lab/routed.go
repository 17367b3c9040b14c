package lab

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// routedConfig is what Calico has BIRD do on a node where it has no overlay, in BIRD 2's words: say to the other nodes where
// its pods are, send what goes to theirs to them, and learn what routes others have made, but tell of those to pods alone.
// The AS is Calico's unless told otherwise, and the article's. Pods' links, cali* with Calico, are flannel's still.
const routedConfig = `log stderr all;
router id %[1]s;
define OWN = %[2]s;
filter to_nodes {
  if net = OWN then accept;
  if net ~ OWN then reject;
  if net ~ 10.244.0.0/16 then accept;
  reject;
}
protocol kernel {
  learn;
  persist;
  scan time 2;
  graceful restart;
  merge paths on;
  ipv4 {
    import all;
    export where source != RTS_DEVICE;
  };
}
protocol device { scan time 2; }
protocol direct {
  ipv4;
  interface -"cni0", -"veth*", "*";
}
protocol static pods {
  ipv4;
  route OWN blackhole;
}
template bgp node {
  local %[1]s as 64512;
  connect retry time 1;
  connect delay time 1;
  error wait time 1, 2;
  graceful restart on;
  debug { states, events };
  ipv4 {
    import all;
    export filter to_nodes;
    next hop self;
  };
}
`

// routedManifest is its speaker, on every node at BGP's own port, out of an image.
const routedManifest = `apiVersion: apps/v1
kind: DaemonSet
metadata: {name: cni-bgp, namespace: kube-system}
spec:
  selector: {matchLabels: {app: cni-bgp}}
  template:
    metadata: {labels: {app: cni-bgp}}
    spec:
      hostNetwork: true
      tolerations: [{operator: Exists}]
      containers:
      - name: bird
        image: %s
        imagePullPolicy: Never
        command: [bird, -f, -c, /etc/cni-bgp/bird.conf, -s, /run/bird.ctl]
        securityContext: {capabilities: {add: [NET_ADMIN, NET_RAW]}}
        volumeMounts: [{name: conf, mountPath: /etc/cni-bgp}]
      volumes: [{name: conf, hostPath: {path: /etc/cni-bgp}}]
`

// Route has BGP lead to the pods in place of flannel's VXLAN, which goes; pods keep their links and addresses. images is
// the folder that the client's is in.
func (c *Cluster) Route(ctx context.Context, images string) error {
	if err := c.Load(filepath.Join(images, "client.tar")); err != nil {
		return err
	}
	// Not before its pods are gone, too: flanneld makes its device again.
	if _, err := c.Kubectl(ctx, "-n", "kube-flannel", "delete", "daemonset", "kube-flannel-ds", "--cascade=foreground", "--timeout=1m"); err != nil {
		return err
	}
	all := slices.Concat(c.Masters, c.Workers)
	for _, m := range all {
		pods, err := c.Kubectl(ctx, "get", "node", m.Name, "-o", "jsonpath={.spec.podCIDR}")
		if err != nil {
			return err
		}
		var page strings.Builder
		fmt.Fprintf(&page, routedConfig, m.Address, pods)
		for i, other := range all {
			if other == m {
				continue
			}
			// One of two dials, as with Calico: where both do, BIRD takes the second connection for the other's graceful
			// restart and lets go of a session that stands already.
			passive := ""
			if other.Address.Compare(m.Address) > 0 {
				passive = "passive on; "
			}
			fmt.Fprintf(&page, "protocol bgp node%d from node { neighbor %s as 64512; %s}\n", i, other.Address, passive)
		}
		if _, err := m.Run(ctx, "mkdir", "-p", "/etc/cni-bgp"); err != nil {
			return err
		}
		if _, err := m.feed(ctx, page.String(), "dd", "of=/etc/cni-bgp/bird.conf", "status=none"); err != nil {
			return err
		}
		if _, err := m.Run(ctx, "ip", "link", "delete", "flannel.1"); err != nil {
			return err
		}
	}
	if _, err := c.feed(ctx, fmt.Sprintf(routedManifest, c.clientImage), "apply"); err != nil {
		return err
	}
	_, err := c.Kubectl(ctx, "-n", "kube-system", "rollout", "status", "daemonset/cni-bgp", "--timeout="+time.Minute.String())
	return err
}
