package lab

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/topo/kubeproxy"
	"github.com/weir-lb/weir/topo/link"
	"github.com/weir-lb/weir/topo/spec"
)

// Balancer is what stands between client and server.
type Balancer struct {
	// Name is its line in the tables.
	Name string
	// Hook sets the links up for native XDP with "xdp", and is where weir takes
	// packets.
	Hook string
	// Translates is false where packets arrive as they were sent.
	Translates bool
	// Services is how many services it has beside those of TCP.
	Services int

	kind kind
}

type kind int

const (
	kindRedirect kind = iota
	kindRouting
	kindWeir
	kindNftables
	kindIptables
	kindHAProxy
)

// The balancers. Redirects are the floors: a program that writes MACs and sends,
// which the chain attaches itself; line is that with a cache line for each flow, and
// lookup with a table of flows.
var (
	RedirectXDP   = Balancer{Name: "redirect-xdp"}
	LineXDP       = Balancer{Name: "line-xdp"}
	LookupXDP     = Balancer{Name: "lookup-xdp"}
	RedirectTC    = Balancer{Name: "redirect-tc"}
	Routing       = Balancer{Name: "routing", kind: kindRouting}
	WeirXDP       = Balancer{Name: "weir-xdp", Hook: "xdp", Translates: true, Services: 1, kind: kindWeir}
	WeirXDPMany   = Balancer{Name: "weir-xdp-10000", Hook: "xdp", Translates: true, Services: 10_000, kind: kindWeir}
	WeirTC        = Balancer{Name: "weir-tc", Hook: "tc", Translates: true, Services: 1, kind: kindWeir}
	Nftables      = Balancer{Name: "nftables", Translates: true, Services: 1, kind: kindNftables}
	NftablesMany  = Balancer{Name: "nftables-10000", Translates: true, Services: 10_000, kind: kindNftables}
	Iptables      = Balancer{Name: "iptables", Translates: true, Services: 1, kind: kindIptables}
	IptablesMany  = Balancer{Name: "iptables-10000", Translates: true, Services: 10_000, kind: kindIptables}
	HAProxy       = Balancer{Name: "haproxy", Translates: true, kind: kindHAProxy}
	everyBalancer = []Balancer{
		RedirectXDP, LineXDP, LookupXDP, RedirectTC, Routing, WeirXDP, WeirXDPMany, WeirTC,
		Nftables, NftablesMany, Iptables, IptablesMany, HAProxy,
	}
)

// All returns every balancer, in the order in which they are set up.
func All() []Balancer { return slices.Clone(everyBalancer) }

// IsFloor tells whether it is a program of the chain's.
func (b Balancer) IsFloor() bool { return b.kind == kindRedirect }

// IsWeir tells whether it is weir.
func (b Balancer) IsWeir() bool { return b.kind == kindWeir }

// At is the hook at which weir takes packets.
func (b Balancer) At() bpf.Hook {
	if b.Hook == "xdp" {
		return bpf.HookXDP
	}
	return bpf.HookTC
}

// Tracks tells whether it keeps connections in the kernel's conntrack table.
func (b Balancer) Tracks() bool { return b.kind == kindNftables || b.kind == kindIptables }

// processes are what runs on the node lb.
func (b Balancer) processes() []spec.Process {
	switch b.kind {
	case kindWeir:
		return []spec.Process{{
			Name: "weir", Command: "weir --hook={{.Vars.hook}} --node-name={{.Node}} --socket={{.State}}/weir.sock --listen= " +
				"--state-dir={{.State}}/state --pin-dir={{.State}}/bpf",
			Ready: &spec.Ready{Socket: "{{.State}}/weir.sock"},
		}}
	case kindHAProxy:
		return []spec.Process{{
			Name: "haproxy", Command: "haproxy -db -f {{.State}}/haproxy.cfg", Ready: &spec.Ready{TCP: "192.0.2.10:" + fmt.Sprint(PortHTTP)},
		}}
	default:
		return nil
	}
}

func (b Balancer) files() map[string]string {
	if b.kind != kindHAProxy {
		return nil
	}
	return map[string]string{"haproxy.cfg": fmt.Sprintf(`global
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1m
  timeout server 1m
listen http
  bind 0.0.0.0:%d backlog 8192
  server nginx %s:8080
listen iperf
  bind 0.0.0.0:%d
  server iperf %s:%d
`, PortHTTP, Server, PortIperf, Server, PortIperf)}
}

// setUp makes it serve.
func (b Balancer) setUp(ctx context.Context, l *Lab) error {
	switch b.kind {
	case kindWeir:
		return l.programWeir(ctx, services(b.Services))
	case kindNftables:
		return nftables(services(b.Services))(ctx, l)
	case kindIptables:
		nobody := func(netip.Addr) bool { return false }
		if err := kubeproxy.Apply(ctx, l.Node("lb").NS, kubeproxy.Rules(services(b.Services), podCIDR, nobody)); err != nil {
			return err
		}
		return l.conntrack()
	case kindHAProxy:
		return link.AddAddress(l.Node("lb").NS, "lo", netip.PrefixFrom(VIP, 32))
	default:
		return l.route()
	}
}

// route takes the VIP's packets to the server as they are.
func (l *Lab) route() error {
	if err := link.AddAddress(l.Node("server").NS, "lo", netip.PrefixFrom(VIP, 32)); err != nil {
		return err
	}
	return link.AddRoute(l.Node("lb").NS, link.Route{To: netip.PrefixFrom(VIP, 32), Via: Server})
}

// conntrack forgets closed connections at once, or their masqueraded ports run
// out within seconds.
func (l *Lab) conntrack() error {
	return link.Sysctl(l.Node("lb").NS, "net.netfilter.nf_conntrack_tcp_timeout_time_wait", "1")
}

// ForgetConnections empties the kernel's table of connections, of a balancer that
// uses it.
func (l *Lab) ForgetConnections() error {
	if !l.Balancer.Tracks() {
		return nil
	}
	err := l.Node("lb").Do(func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) })
	if err != nil {
		return fmt.Errorf("empty connection table: %w", err)
	}
	return nil
}

// pin finds one of weir's pins on the node lb, in the folder of whichever layout
// this weir has.
func (l *Lab) pin(parts ...string) (string, error) {
	pattern := filepath.Join(append([]string{l.Node("lb").Dir(), "bpf", "v*"}, parts...)...)
	found, err := filepath.Glob(pattern)
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("found %d", len(found))
	}
	if err != nil {
		return "", fmt.Errorf("find weir's pin %s: %w", pattern, err)
	}
	return found[0], nil
}
