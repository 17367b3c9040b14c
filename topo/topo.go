// Package topo builds topologies of network namespaces out of YAML pages and
// takes them down again (README.md). Up gives a running topology, Open finds
// one that an earlier `weir-topo up` left, Down removes everything: processes,
// namespaces, files. What a crash leaves, the next Up or Sweep removes.
//
// It needs root. A Topology may be used from several goroutines; Down must not
// run beside other calls.
package topo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/weir-lb/weir/topo/catalog"
	"github.com/weir-lb/weir/topo/dump"
	"github.com/weir-lb/weir/topo/netns"
	"github.com/weir-lb/weir/topo/node"
	"github.com/weir-lb/weir/topo/pki"
	"github.com/weir-lb/weir/topo/spec"
)

// ErrNotFound says that no such topology runs.
var ErrNotFound = errors.New("no such topology")

// Options of Up. The zero value is right for a test.
type Options struct {
	// Name is the topology's id, 1 to 12 of a-z and 0-9. Optional; empty
	// means a random one.
	Name string
	// Root is where state folders are. Optional; empty means DefaultRoot.
	Root string
	// BinDir has weir's programs. Optional; empty means that only PATH is
	// searched.
	BinDir string
	// Hook is auto, xdp or tc, and sets {{.Vars.hook}}; xdp also sets the
	// offloads that native XDP on veth needs. Optional.
	Hook string
	// Vars take the place of the page's.
	Vars map[string]string
	// NoProcesses builds the network and the files only.
	NoProcesses bool
	// Keep lets the topology outlive this program: Open finds it again.
	Keep bool
	// Progress gets a line for each step. Optional.
	Progress io.Writer
}

// Topology is a running topology.
type Topology struct {
	Page    *spec.Page
	inst    *instance
	nodes   map[string]*node.Node
	spawner *node.Spawner
	out     io.Writer
	// authority is nil where another process has brought the topology up.
	authority *pki.Authority
}

// Authority signs the topology's certificates, for a test that needs another one.
// It is nil unless this process has brought the topology up.
func (t *Topology) Authority() *pki.Authority { return t.authority }

// ID is the topology's name, a part of the names of its namespaces.
func (t *Topology) ID() string { return t.inst.ID }

// Dir is the topology's state folder.
func (t *Topology) Dir() string { return t.inst.dir() }

// Node returns the node of that name. A page without it is an error of the
// caller, so Node panics.
func (t *Topology) Node(name string) *node.Node {
	n := t.nodes[name]
	if n == nil {
		panic(fmt.Sprintf("topology %s has no node %q, it has %v", t.Page.Name, name, t.Page.Order))
	}
	return n
}

// Nodes returns all nodes in the order of the page.
func (t *Topology) Nodes() []*node.Node {
	nodes := make([]*node.Node, 0, len(t.Page.Order))
	for _, name := range t.Page.Order {
		if n := t.nodes[name]; n != nil { // nil where Up failed half way
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// Has tells whether there is a node of that name.
func (t *Topology) Has(name string) bool { return t.nodes[name] != nil }

// Processes returns all processes in the order in which they start.
func (t *Topology) Processes() []*node.Process {
	var all []*node.Process
	for _, n := range t.Nodes() {
		all = append(all, n.Processes...)
	}
	slices.SortStableFunc(all, func(a, b *node.Process) int { return a.Spec.Order - b.Spec.Order })
	return all
}

// Manifests is the folder with the page's manifests.
func (t *Topology) Manifests() string { return t.inst.path("manifests") }

// WriteManifest puts a manifest in place of one of that name, at once and
// whole: who watches the folder never reads half a file.
func (t *Topology) WriteManifest(name string, content []byte) error {
	// Beside the folder, so that the half file is not taken for a manifest.
	tmp := t.inst.path("manifest.new")
	if err := os.WriteFile(tmp, content, 0o600); err != nil {
		return fmt.Errorf("write manifest %s: %w", name, err)
	}
	if err := os.Rename(tmp, filepath.Join(t.Manifests(), name)); err != nil {
		return fmt.Errorf("write manifest %s: %w", name, err)
	}
	return nil
}

// RemoveManifest deletes a manifest.
func (t *Topology) RemoveManifest(name string) error {
	if err := os.Remove(filepath.Join(t.Manifests(), name)); err != nil {
		return fmt.Errorf("remove manifest: %w", err)
	}
	return nil
}

// Dump writes the evidence of all nodes, and the page and the manifests, into
// dir.
func (t *Topology) Dump(ctx context.Context, dir string) error {
	if err := dump.Nodes(ctx, t.Nodes(), dir); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "page.yaml"), t.Page.Source, 0o644); err != nil {
		return fmt.Errorf("write page to evidence: %w", err)
	}
	to := filepath.Join(dir, "manifests")
	if err := os.RemoveAll(to); err != nil {
		return fmt.Errorf("write manifests to evidence: %w", err)
	}
	if err := os.CopyFS(to, os.DirFS(t.Manifests())); err != nil {
		return fmt.Errorf("write manifests to evidence: %w", err)
	}
	return nil
}

func (t *Topology) progress(format string, args ...any) {
	if t.out != nil {
		fmt.Fprintf(t.out, "%s: "+format+"\n", append([]any{t.inst.ID}, args...)...)
	}
}

// Load reads a page: of the catalog by its name, else the file of that name.
func Load(page string) (*spec.Page, error) {
	if slices.Contains(catalog.Names(), page) {
		return spec.Load(catalog.FS, page+".yaml")
	}
	if _, err := os.Stat(page); err != nil {
		return nil, fmt.Errorf("find page %s: neither in the catalog %v nor a file", page, catalog.Names())
	}
	return spec.Load(os.DirFS(filepath.Dir(page)), filepath.Base(page))
}

// Open returns a topology that another program has built and kept. It is the
// caller's to Close or to take Down.
func Open(root, id string) (*Topology, error) {
	inst, err := load(rootOr(root), id)
	if err != nil {
		return nil, err
	}
	src, err := os.ReadFile(inst.path("page.yaml"))
	if err != nil {
		return nil, fmt.Errorf("read page of topology %s: %w", id, err)
	}
	page, err := spec.Parse(inst.path("page.yaml"), src)
	if err != nil {
		return nil, err
	}
	t := &Topology{Page: page, inst: inst}
	ns := map[string]*netns.NetNS{}
	for _, name := range page.Order {
		n, err := netns.Open(namespace(id, name))
		if err != nil {
			return nil, errors.Join(err, closeAll(ns))
		}
		ns[name] = n
	}
	t.makeNodes(ns)
	return t, nil
}

// Close lets go of a topology without changing it.
func (t *Topology) Close() error {
	var errs []error
	for _, n := range t.nodes {
		errs = append(errs, n.NS.Close())
	}
	return errors.Join(append(errs, t.inst.release())...)
}

func closeAll(ns map[string]*netns.NetNS) error {
	var errs []error
	for _, n := range ns {
		errs = append(errs, n.Close())
	}
	return errors.Join(errs...)
}

func rootOr(root string) string {
	if root == "" {
		return DefaultRoot
	}
	return root
}

// cleanupTimeout bounds what is taken down after a failure or a ^C.
const cleanupTimeout = 20 * time.Second

// afterward is a context for cleaning up after ctx has ended.
func afterward(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
}
