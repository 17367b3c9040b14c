package lab

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// What deploy/article tells kube-weir: the article's client, and weir's AS.
const (
	articlePeer = "--extBGPPeers=192.168.80.1:65101"
	articleASN  = "        - --setBGP=64512\n"
)

// Apply applies a manifest of deploy/article with the changes that this cluster needs: the client's address, images that
// are there already because no registry has them, and ListenBGPPort. It returns what kubectl said.
func (c *Cluster) Apply(ctx context.Context, file string) (string, error) {
	page, err := c.read(file)
	if err != nil {
		return "", err
	}
	return c.feed(ctx, page, "apply")
}

// Restore makes an object again that kubectl get has printed.
func (c *Cluster) Restore(ctx context.Context, object string) error {
	_, err := c.feed(ctx, object, "create")
	return err
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
	changes := []string{
		articlePeer, fmt.Sprintf("--extBGPPeers=%s:%d", c.Client.Address, ClientASN),
		"imagePullPolicy: Always", "imagePullPolicy: Never",
	}
	if c.ListenBGPPort != 0 {
		changes = append(changes, articleASN, fmt.Sprintf("%s        - --listenBGPPort=%d\n", articleASN, c.ListenBGPPort))
	}
	return strings.NewReplacer(changes...).Replace(string(b)), nil
}
