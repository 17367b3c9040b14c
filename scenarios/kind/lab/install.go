package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/weir-lb/weir/topo/pki"
)

// The article's client, as deploy/article names it to kube-weir.
const articlePeer = "--extBGPPeers=192.168.80.1:65101"

// Apply applies a manifest of deploy/article with the two changes that this cluster needs: the client's address, and
// images that are there already because no registry has them. It returns what kubectl said.
func (c *Cluster) Apply(ctx context.Context, file string) (string, error) {
	page, err := c.read(file)
	if err != nil {
		return "", err
	}
	return c.feed(ctx, page, "apply")
}

// Remove deletes what a manifest has made, and waits until it is gone.
func (c *Cluster) Remove(ctx context.Context, file string) error {
	page, err := c.read(file)
	if err != nil {
		return err
	}
	_, err = c.feed(ctx, page, "delete", "--ignore-not-found", "--timeout=2m")
	return err
}

// read reads a manifest and makes the changes.
func (c *Cluster) read(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	return strings.NewReplacer(
		articlePeer, fmt.Sprintf("--extBGPPeers=%s:%d", c.Client.Address, ClientASN),
		"imagePullPolicy: Always", "imagePullPolicy: Never",
	).Replace(string(b)), nil
}

// Certify gives the cluster the Secret weir-tls, by which kube-weir and the nodes know each other: one certificate for
// all addresses of nodes.
func (c *Cluster) Certify(ctx context.Context) error {
	authority, err := pki.New(c.Name)
	if err != nil {
		return err
	}
	var addresses []netip.Addr
	for _, m := range append(append([]Machine{}, c.Masters...), c.Workers...) {
		addresses = append(addresses, m.Address)
	}
	data := map[string][]byte{"ca.crt": nil, "tls.crt": nil, "tls.key": nil}
	file := func(key string) string { return filepath.Join(c.dir, key) }
	if err := authority.WriteCA(file("ca.crt")); err != nil {
		return err
	}
	if err := authority.Issue("weir", addresses, file("tls.crt"), file("tls.key")); err != nil {
		return err
	}
	for key := range data {
		if data[key], err = os.ReadFile(file(key)); err != nil {
			return err
		}
	}
	secret, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
		"metadata": map[string]string{"name": "weir-tls", "namespace": "kube-system"},
		"data":     data,
	})
	if err != nil {
		return err
	}
	_, err = c.feed(ctx, string(secret), "apply")
	return err
}
