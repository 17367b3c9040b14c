package lab

import (
	"context"
	"fmt"
	"os"
	"strings"
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
