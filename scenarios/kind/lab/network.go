package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// flannelChanges are what flannel's own manifest needs where its images are made of Go modules alone, which do not have the
// newest of its CNI plugin: one image for all that it asks for, with bridge besides, which kind's nodes lack.
var flannelChanges = [][2]string{
	{"ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel3", "localhost/flannel:1"},
	{"ghcr.io/flannel-io/flannel:v0.28.10", "localhost/flannel:1"},
	{"        - /flannel\n        - /opt/cni/bin/flannel\n", "        - /flannel\n        - /bridge\n        - /opt/cni/bin/\n"},
	{`"cniVersion": "1.0.0"`, `"cniVersion": "0.3.1"`},
}

// Network installs flannel, whose pods are behind a VXLAN, as the article's K3s has it, out of the folder of its image
// and manifest, and waits until all nodes have it.
func (c *Cluster) Network(ctx context.Context, images string) error {
	if err := c.Load(filepath.Join(images, "flannel.tar")); err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(images, "kube-flannel.yml"))
	if err != nil {
		return err
	}
	page := string(b)
	for _, change := range flannelChanges {
		if !strings.Contains(page, change[0]) {
			return fmt.Errorf("change flannel's manifest: it has no %q", change[0])
		}
		page = strings.ReplaceAll(page, change[0], change[1])
	}
	// kubeadm asks it of a machine, kind passes over that, and flannel leaves it to the machine.
	for _, m := range slices.Concat(c.Masters, c.Workers) {
		if _, err := m.Run(ctx, "sysctl", "-w", "net.ipv4.ip_forward=1"); err != nil {
			return err
		}
	}
	if _, err := c.feed(ctx, page, "apply"); err != nil {
		return err
	}
	if _, err := c.Kubectl(ctx, "-n", "kube-flannel", "rollout", "status", "daemonset/kube-flannel-ds", "--timeout="+readyTimeout.String()); err != nil {
		return err
	}
	_, err = c.Kubectl(ctx, "wait", "--for=condition=Ready", "nodes", "--all", "--timeout="+readyTimeout.String())
	return err
}
