package harness

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/topo/node"
)

// snapshot is what every node of a topology had counted at one time.
type snapshot struct {
	weir  map[string]v1.Counters // by node; nodes without a dataplane are absent
	links map[endpoint]linkCounters
}

// endpoint is an interface of a node.
type endpoint struct{ node, iface string }

// linkCounters are an interface's, packets.
type linkCounters struct{ rx, rxDrop, tx, txDrop uint64 }

// snapshot reads what can be read; who does not answer is left out, since a
// report has to come in any state of the topology.
func (s *Scenario) snapshot(ctx context.Context) snapshot {
	shot := snapshot{weir: map[string]v1.Counters{}, links: map[endpoint]linkCounters{}}
	for _, n := range s.Nodes() {
		for iface, c := range readLinks(n) {
			shot.links[endpoint{n.Name, iface}] = c
		}
		if !hasWeir(n) {
			continue
		}
		if c, err := s.Weir(n.Name).Counters(ctx); err == nil {
			shot.weir[n.Name] = c
		}
	}
	return shot
}

// hasWeir tells whether the node's weir has an API to ask.
func hasWeir(n *node.Node) bool {
	_, err := os.Stat(socket(n))
	return err == nil
}

func socket(n *node.Node) string { return filepath.Join(n.Dir(), "weir.sock") }

// readLinks returns the counters of the node's interfaces except loopback.
func readLinks(n *node.Node) map[string]linkCounters {
	links := map[string]linkCounters{}
	// An error leaves the node out of the table, which says enough.
	_ = n.Do(func() error {
		// thread-self: /proc/net is the namespace of the process, not of this thread.
		f, err := os.Open("/proc/thread-self/net/dev")
		if err != nil {
			return err
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if name, c, ok := parseLink(lines.Text()); ok && name != "lo" {
				links[name] = c
			}
		}
		return nil
	})
	return links
}

// parseLink reads a line of /proc/net/dev: the name, eight numbers of what was
// received (bytes, packets, errors, dropped, ...), eight of what was sent.
func parseLink(line string) (name string, c linkCounters, ok bool) {
	name, numbers, ok := strings.Cut(line, ":")
	if !ok {
		return "", c, false
	}
	f := make([]uint64, 12)
	fields := strings.Fields(numbers)
	if len(fields) < len(f) {
		return "", c, false
	}
	for i := range f {
		if _, err := fmt.Sscan(fields[i], &f[i]); err != nil {
			return "", c, false
		}
	}
	return strings.TrimSpace(name), linkCounters{rx: f[1], rxDrop: f[3], tx: f[9], txDrop: f[11]}, true
}

// nodeDelta is what a node's dataplane counted between two snapshots.
type nodeDelta struct {
	node                  string
	in, forwarded, passed uint64
	drops                 []v1.Drop // only those that grew
}

// linkDelta is the same of an interface.
type linkDelta struct {
	endpoint
	linkCounters
}

// since returns what changed from before to s, by node and interface name.
// Interfaces that saw nothing are left out.
func (s snapshot) since(before snapshot) ([]nodeDelta, []linkDelta) {
	var nodes []nodeDelta
	for _, name := range slices.Sorted(maps.Keys(s.weir)) {
		nodes = append(nodes, diffNode(name, before.weir[name], s.weir[name]))
	}
	var links []linkDelta
	for at, now := range s.links {
		was := before.links[at]
		d := linkCounters{now.rx - was.rx, now.rxDrop - was.rxDrop, now.tx - was.tx, now.txDrop - was.txDrop}
		if d != (linkCounters{}) {
			links = append(links, linkDelta{at, d})
		}
	}
	slices.SortFunc(links, func(a, b linkDelta) int {
		return strings.Compare(a.node+":"+a.iface, b.node+":"+b.iface)
	})
	return nodes, links
}

func diffNode(name string, was, now v1.Counters) nodeDelta {
	d := nodeDelta{
		node: name, in: now.In - was.In, forwarded: now.Forwarded - was.Forwarded, passed: now.Passed - was.Passed,
	}
	old := map[string]uint64{}
	for _, drop := range was.Drops {
		old[drop.Reason] = drop.Count
	}
	for _, drop := range now.Drops {
		if n := drop.Count - old[drop.Reason]; n != 0 {
			d.drops = append(d.drops, v1.Drop{Reason: drop.Reason, Count: n})
		}
	}
	return d
}
