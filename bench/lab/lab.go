// Package lab builds what balancers are compared in: for each a topology of its
// own, client, balancer and server (lab.yaml), with the same addresses and the
// same service in all of them.
package lab

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/weir-lb/weir/topo"
	"github.com/weir-lb/weir/topo/node"
	"github.com/weir-lb/weir/topo/spec"
)

//go:embed lab.yaml
var page []byte

// Addresses of the page.
var (
	VIP      = netip.MustParseAddr("203.0.113.1")
	Client   = netip.MustParseAddr("192.0.2.1")
	Server   = netip.MustParseAddr("198.51.100.1")
	Clients  = netip.MustParsePrefix("198.18.0.0/15")
	Backends = netip.MustParsePrefix("10.9.0.0/24")
)

// Options of Up.
type Options struct {
	// BinDir has weir's programs.
	BinDir string
	// Servers starts nginx and iperf3 on the node server.
	Servers bool
	// MTU of the links in bytes. Optional; zero means the page's.
	MTU int
	// Progress gets a line for what is built. Required.
	Progress func(format string, args ...any)
}

// Lab is a running topology with a balancer that serves.
type Lab struct {
	*topo.Topology
	Balancer Balancer

	links    map[string]*netlink.LinkAttrs
	sequence uint64 // of the last state that weir got
}

// Up builds the topology and sets the balancer up. When it fails or ctx ends, all
// of it is removed.
func Up(ctx context.Context, b Balancer, o Options) (*Lab, error) {
	p, err := spec.Parse("lab.yaml", page)
	if err != nil {
		return nil, err
	}
	if o.MTU != 0 {
		for i := range p.Links {
			p.Links[i].MTU = o.MTU
		}
	}
	if o.Servers {
		p.Nodes["server"].Processes = servers
	}
	p.Nodes["lb"].Processes = b.processes()
	for name, text := range b.files() {
		if p.Nodes["lb"].Files == nil {
			p.Nodes["lb"].Files = map[string]string{}
		}
		p.Nodes["lb"].Files[name] = text
	}
	o.Progress("%s: building", b.Name)
	t, err := topo.Up(ctx, p, topo.Options{BinDir: o.BinDir, Hook: b.Hook})
	if err != nil {
		return nil, fmt.Errorf("build topology of %s: %w", b.Name, err)
	}
	l := &Lab{Topology: t, Balancer: b, links: map[string]*netlink.LinkAttrs{}}
	if err := l.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("set up %s: %w", b.Name, err), l.Down(context.WithoutCancel(ctx)))
	}
	return l, nil
}

var servers = []spec.Process{
	{Name: "nginx", Command: "nginx -e stderr -c {{.State}}/nginx.conf", Ready: &spec.Ready{TCP: "198.51.100.1:8080"}},
	{Name: "iperf3", Command: "iperf3 -s -p 5201", Ready: &spec.Ready{TCP: "198.51.100.1:5201"}},
}

// prepare makes neighbours known, so that nobody waits for ARP, and lets the
// balancer serve.
func (l *Lab) prepare(ctx context.Context) error {
	for _, e := range ends {
		found, err := netlinkOf(l.Node(e.node), e.link)
		if err != nil {
			return err
		}
		l.links[e.node+":"+e.link] = found.Attrs()
	}
	for _, n := range []struct{ node, link, address, mac string }{
		{"lb", "eth1", "192.0.2.1", l.MAC("client:eth1").String()},
		{"lb", "eth2", "198.51.100.1", l.MAC("server:eth1").String()},
		{"client", "eth1", "192.0.2.10", l.MAC("lb:eth1").String()},
		{"server", "eth1", "198.51.100.10", l.MAC("lb:eth2").String()},
	} {
		if _, err := l.Node(n.node).Run(ctx, "ip", "neigh", "replace", n.address, "lladdr", n.mac, "dev", n.link, "nud", "permanent"); err != nil {
			return err
		}
	}
	return l.Balancer.setUp(ctx, l)
}

// MAC is the address of an interface, "lb:eth1".
func (l *Lab) MAC(end string) net.HardwareAddr { return l.links[end].HardwareAddr }

// Index is an interface's index in its namespace.
func (l *Lab) Index(end string) int { return l.links[end].Index }

func netlinkOf(n *node.Node, name string) (netlink.Link, error) {
	var found netlink.Link
	err := n.Do(func() error {
		var err error
		found, err = netlink.LinkByName(name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find interface %s of %s: %w", name, n.Name, err)
	}
	return found, nil
}
