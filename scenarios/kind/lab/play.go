package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// Manifests are deploy/article's, in the order in which the article applies them.
func Manifests() []string {
	return []string{"kube-weir.yml", "weir.yml", "weir-peer.yml", "nginx.yml", "udp.yml", "sctp.yml"}
}

// Images is the folder that ci/images.sh makes the archives in. root is the repository's folder.
func Images(root string) string { return filepath.Join(root, "build", "images", runtime.GOARCH) }

// Up makes the cluster with images and a client: all but weir. root is the repository's folder.
func (c *Cluster) Up(ctx context.Context, root string) error {
	images := Images(root)
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	if err := c.Create(ctx); err != nil {
		return err
	}
	if err := c.Network(ctx, images); err != nil {
		return err
	}
	err := c.Load(filepath.Join(images, "weir.tar"), filepath.Join(images, "kube-weir.tar"), filepath.Join(images, "weir-topo.tar"))
	if err != nil {
		return err
	}
	if err := c.StartClient(ctx, filepath.Join(images, "client.tar")); err != nil {
		return err
	}
	return c.noteUntouched(ctx)
}

// Install applies the article's manifests and waits until all pods are ready.
func (c *Cluster) Install(ctx context.Context, root string) error {
	for _, file := range Manifests() {
		if _, err := c.Apply(ctx, filepath.Join(root, "deploy", "article", file)); err != nil {
			return err
		}
	}
	for _, wait := range [][]string{
		{"-n", "kube-system", "rollout", "status", "daemonset/loxilb-lb", "--timeout=2m"},
		{"-n", "kube-system", "rollout", "status", "daemonset/loxilb-peer", "--timeout=2m"},
		{"-n", "kube-system", "rollout", "status", "deployment/kube-loxilb", "--timeout=2m"},
		{"wait", "--for=condition=Ready", "pod/nginx-test", "pod/udp-test", "pod/sctp-test", "--timeout=2m"},
	} {
		if _, err := c.Kubectl(ctx, wait...); err != nil {
			return fmt.Errorf("wait for the pods: %w", err)
		}
	}
	return nil
}
