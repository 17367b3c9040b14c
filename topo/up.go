package topo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/weir-lb/weir/topo/build"
	"github.com/weir-lb/weir/topo/link"
	"github.com/weir-lb/weir/topo/netns"
	"github.com/weir-lb/weir/topo/node"
	"github.com/weir-lb/weir/topo/pki"
	"github.com/weir-lb/weir/topo/spec"
)

// Up builds page, writes its files, starts its processes and waits until they
// are ready. When it fails or ctx ends, everything made so far is removed.
// Topologies that a crash has left are removed first.
func Up(ctx context.Context, page *spec.Page, o Options) (*Topology, error) {
	root := rootOr(o.Root)
	if err := Sweep(ctx, root); err != nil {
		return nil, err
	}
	vars := maps.Clone(page.Vars)
	maps.Copy(vars, o.Vars)
	if o.Hook != "" {
		vars["hook"] = o.Hook
	}
	inst, err := create(root, page, record{
		ID: o.Name, Page: page.Name, PID: os.Getpid(), Created: time.Now(), Bin: o.BinDir, Vars: vars,
	})
	if err != nil {
		return nil, err
	}
	t := &Topology{Page: page, inst: inst, out: o.Progress}
	if !o.Keep {
		t.spawner = node.NewSpawner()
		go t.spawner.Run()
	}
	if err := t.up(ctx, o); err != nil {
		clean, cancel := afterward(ctx)
		defer cancel()
		t.progress("failed, cleaning up")
		return nil, errors.Join(err, t.Down(clean))
	}
	return t, nil
}

func (t *Topology) up(ctx context.Context, o Options) error {
	name := func(n string) string { return namespace(t.ID(), n) }
	ns, err := build.Build(ctx, t.Page, name, t.progress)
	t.makeNodes(ns)
	if err != nil {
		return err
	}
	if t.inst.Vars["hook"] == "xdp" {
		if err := t.prepareXDP(); err != nil {
			return err
		}
	}
	t.progress("certificates, files and manifests: %s", t.Dir())
	if err := t.writeFiles(); err != nil {
		return err
	}
	if !o.NoProcesses {
		if err := t.startProcesses(ctx); err != nil {
			return err
		}
	}
	if !o.Keep {
		return nil
	}
	t.inst.Kept = true
	return t.inst.save()
}

// makeNodes gives each namespace its node.
func (t *Topology) makeNodes(ns map[string]*netns.NetNS) {
	t.nodes = make(map[string]*node.Node, len(ns))
	for name, space := range ns {
		s := t.Page.Nodes[name]
		n := &node.Node{Name: name, Spec: s, NS: space, Vars: t.vars(name)}
		for _, p := range s.Processes {
			n.Processes = append(n.Processes, node.NewProcess(n, p, t.spawner))
		}
		t.nodes[name] = n
	}
}

func (t *Topology) vars(name string) node.Vars {
	path := t.inst.path
	return node.Vars{
		Instance: t.ID(), Node: name, State: path(name), Dir: t.Dir(), Bin: t.inst.Bin, Manifests: t.Manifests(),
		CA: path("ca.crt"), Cert: path(name, "tls.crt"), Key: path(name, "tls.key"),
		ClientCert: path("client.crt"), ClientKey: path("client.key"), Vars: t.inst.Vars,
	}
}

// writeFiles fills the state folder: certificates, manifests, the nodes' files.
func (t *Topology) writeFiles() error {
	ca, err := pki.New("weir-topo " + t.ID())
	if err != nil {
		return err
	}
	t.authority = ca
	if err := ca.WriteCA(t.inst.path("ca.crt")); err != nil {
		return err
	}
	if err := ca.Issue("kube-weir", nil, t.inst.path("client.crt"), t.inst.path("client.key")); err != nil {
		return err
	}
	for _, n := range t.Nodes() {
		if err := os.Mkdir(n.Dir(), 0o700); err != nil {
			return fmt.Errorf("create folder of node %s: %w", n.Name, err)
		}
		if err := ca.Issue(n.Name, n.Spec.Addresses(), n.Vars.Cert, n.Vars.Key); err != nil {
			return err
		}
		if err := nodeFiles(n); err != nil {
			return err
		}
	}
	if err := os.Mkdir(t.Manifests(), 0o700); err != nil {
		return fmt.Errorf("create folder of manifests: %w", err)
	}
	for name, content := range t.Page.ManifestFiles {
		if err := t.WriteManifest(name, content); err != nil {
			return err
		}
	}
	return nil
}

func nodeFiles(n *node.Node) error {
	for name, text := range n.Spec.Files {
		content, err := n.Vars.Expand(text)
		if err != nil {
			return fmt.Errorf("file %s of node %s: %w", name, n.Name, err)
		}
		file := filepath.Join(n.Dir(), name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return fmt.Errorf("create folder of file %s on %s: %w", name, n.Name, err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			return fmt.Errorf("write file of node %s: %w", n.Name, err)
		}
	}
	return nil
}

// startProcesses starts the processes of one order together, waits for them
// all, and goes on to the next.
func (t *Topology) startProcesses(ctx context.Context) error {
	all := t.Processes()
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].Spec.Order == all[0].Spec.Order {
			n++
		}
		for _, p := range all[:n] {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("start processes of %s: %w", t.Page.Name, err)
			}
			if err := p.Launch(); err != nil {
				return err
			}
		}
		for _, p := range all[:n] {
			began := time.Now()
			if err := p.WaitReady(ctx); err != nil {
				return err
			}
			t.progress("%s runs (ready after %d ms)", p, time.Since(began).Milliseconds())
		}
		all = all[n:]
	}
	return nil
}

// prepareXDP does for every veth end what native XDP on the other end needs:
// GRO, or frames that XDP transmits to it vanish, and no transmit checksums, or
// they stay undone: in packets that start there, and in those that GRO on
// another port of a switch has merged.
func (t *Topology) prepareXDP() error {
	for _, l := range t.Page.Links {
		for _, e := range l.Endpoints {
			ns := t.nodes[e.Node].NS
			if err := link.SetOffload(ns, e.Interface, "gro", true); err != nil {
				return err
			}
			if err := link.SetOffload(ns, e.Interface, "tx", false); err != nil {
				return err
			}
		}
	}
	return nil
}
