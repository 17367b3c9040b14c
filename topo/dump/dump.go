// Package dump collects the evidence of a topology: what a person would look
// at after a failure, a folder for each node.
package dump

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weir-lb/weir/topo/node"
)

// commandTimeout bounds each command: evidence of a hung node is evidence too.
const commandTimeout = 5 * time.Second

// command is one look at a node.
type command struct {
	file string
	line []string
	// when is the process without which the look makes no sense.
	when string
}

// commands are the looks, in the order in which a person would take them.
func commands(n *node.Node) []command {
	ctl := filepath.Join(n.Dir(), "bird.ctl")
	return []command{
		{"ip-addr.txt", []string{"ip", "-d", "addr"}, ""},
		{"ip-link.txt", []string{"ip", "-s", "-s", "link"}, ""},
		{"ip-route.txt", []string{"ip", "route", "show", "table", "all"}, ""},
		{"ip-rule.txt", []string{"ip", "rule"}, ""},
		{"ip-neigh.txt", []string{"ip", "-s", "neigh"}, ""},
		{"bridge-fdb.txt", []string{"bridge", "fdb"}, ""},
		{"sockets.txt", []string{"ss", "-anp"}, ""},
		{"iptables.txt", []string{"iptables-save", "-c"}, ""},
		{"snmp.txt", []string{"cat", "/proc/net/snmp", "/proc/net/netstat"}, ""},
		{"conntrack.txt", []string{"cat", "/proc/net/nf_conntrack"}, ""},
		{"weir-lb.json", []string{"weirctl", "-o", "json", "get", "lb"}, "weir"},
		{"weir-ct.json", []string{"weirctl", "-o", "json", "get", "ct"}, "weir"},
		{"weir-drops.json", []string{"weirctl", "-o", "json", "get", "drops"}, "weir"},
		{"weir-neigh.json", []string{"weirctl", "-o", "json", "get", "neigh"}, "weir"},
		{"gobgp-neighbor.txt", []string{"gobgp", "neighbor"}, "weir"},
		{"gobgp-rib.txt", []string{"gobgp", "global", "rib"}, "weir"},
		{"bird-protocols.txt", []string{"birdc", "-s", ctl, "show", "protocols", "all"}, "bird"},
		{"bird-route.txt", []string{"birdc", "-s", ctl, "show", "route", "all"}, "bird"},
	}
}

// Nodes writes the evidence of nodes into dir/<node>. It goes on past what
// fails: a file then holds the error. The error returned is about dir only.
func Nodes(ctx context.Context, nodes []*node.Node, dir string) error {
	var errs []error
	for _, n := range nodes {
		to := filepath.Join(dir, n.Name)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return fmt.Errorf("create evidence folder: %w", err)
		}
		for _, c := range commands(n) {
			if c.when != "" && !runs(n, c.when) {
				continue
			}
			errs = append(errs, look(ctx, n, c, filepath.Join(to, c.file)))
		}
		errs = append(errs, copyLogs(n, to))
	}
	return errors.Join(errs...)
}

func runs(n *node.Node, process string) bool {
	for _, p := range n.Processes {
		if p.Spec.Name == process {
			return p.Running()
		}
	}
	return false
}

func look(ctx context.Context, n *node.Node, c command, file string) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	out, err := n.Run(ctx, c.line[0], c.line[1:]...)
	if err != nil {
		out += "\n" + err.Error() + "\n"
	}
	out = "# " + strings.Join(c.line, " ") + "\n" + out
	if strings.HasSuffix(c.file, ".json") && err == nil {
		out = out[strings.IndexByte(out, '\n')+1:] // nothing but JSON
	}
	if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
		return fmt.Errorf("write evidence: %w", err)
	}
	return nil
}

func copyLogs(n *node.Node, to string) error {
	var errs []error
	for _, p := range n.Processes {
		b, err := os.ReadFile(p.Log())
		if errors.Is(err, fs.ErrNotExist) {
			continue // never started
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, p.Spec.Name+".log"), b, 0o644)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("copy log of %s: %w", p, err))
		}
	}
	return errors.Join(errs...)
}
