package lab

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
)

// Copy puts a folder on the first master, where kubectl finds it, as a folder of the same name in /kustomize.
func (c *Cluster) Copy(ctx context.Context, folder, as string) error {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.AddFS(os.DirFS(folder)); err != nil {
		return fmt.Errorf("pack %s: %w", folder, err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("pack %s: %w", folder, err)
	}
	at := "/kustomize/" + as
	if _, err := c.Masters[0].Run(ctx, "mkdir", "-p", at); err != nil {
		return err
	}
	_, err := c.Masters[0].feed(ctx, archive.String(), "tar", "-x", "-C", at)
	return err
}
