// Package catalog holds the topologies that weir-topo knows by name: each is
// a YAML page here, with its manifests in a folder of the same name.
package catalog

import (
	"embed"
	"io/fs"
	"strings"
)

// FS has name.yaml for each name of Names.
//
//go:embed *.yaml */*.yml
var FS embed.FS

// Names lists the pages, sorted.
func Names() []string {
	files, err := fs.Glob(FS, "*.yaml")
	if err != nil {
		return nil // the pattern is constant and well formed
	}
	names := make([]string, 0, len(files))
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f, ".yaml"))
	}
	return names
}
