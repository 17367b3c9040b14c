package node

import (
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bgp/decide"
)

// The article's addresses, so that what is compared can be read beside it.
const (
	vipText  = "123.123.123.1"
	ecmp     = "198.18.0.0/24" // the client announces it
	occupied = "198.18.1.0/24" // as well, but worker2 has a static route
)

// holdTime of all sessions in seconds, the least that BGP allows.
const holdTime = 3

// world is the article's topology with its speakers running.
type world struct {
	*lab
	client                             *bird
	master1, master2, worker1, worker2 *speaker
	gobgp                              string
}

func newWorld(t *testing.T) *world {
	l := newLab(t)
	w := &world{lab: l, gobgp: filepath.Join(l.dir, "gobgp")}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", w.gobgp, "github.com/osrg/gobgp/v4/cmd/gobgp")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build gobgp: %v\n%s", err, out)
	}
	client := l.member("client", "192.168.80.1")
	master1, master2 := l.member("master1", "192.168.80.10"), l.member("master2", "192.168.80.11")
	worker1, worker2 := l.member("worker1", "192.168.80.101"), l.member("worker2", "192.168.80.102")
	worker2.output("ip", "route", "add", occupied, "via", "192.168.80.1", "metric", "30", "proto", "static")
	w.client = client.startBird(map[string]string{"master1": "192.168.80.10", "master2": "192.168.80.11"}, ecmp, occupied)
	w.master1, w.master2 = master1.start(childOptions{Kind: decide.LB}), master2.start(childOptions{Kind: decide.LB})
	w.worker1, w.worker2 = worker1.start(childOptions{Kind: decide.Peer}), worker2.start(childOptions{Kind: decide.Peer})
	return w
}

// bgpOf returns what the controller tells a node: a full mesh, the client
// only on LB nodes.
func bgpOf(m *member) *v1.BGP {
	lb := strings.HasPrefix(m.name, "master")
	b := &v1.BGP{
		ASN: 64512, RouterID: m.address, HoldTime: holdTime, NextHopSelf: lb,
		VIPs: []netip.Prefix{netip.MustParsePrefix("123.123.123.0/24")},
	}
	add := func(address string, asn uint32, role v1.PeerRole) {
		if a := netip.MustParseAddr(address); a != m.address {
			b.Peers = append(b.Peers, v1.Peer{Address: a, ASN: asn, Role: role})
		}
	}
	if lb {
		add("192.168.80.1", 65101, v1.PeerExternal)
	}
	add("192.168.80.10", 64512, v1.PeerLB)
	add("192.168.80.11", 64512, v1.PeerLB)
	add("192.168.80.101", 64512, v1.PeerWorker)
	add("192.168.80.102", 64512, v1.PeerWorker)
	return b
}

func (w *world) speakers() []*speaker {
	return []*speaker{w.master1, w.master2, w.worker1, w.worker2}
}

// mesh configures all speakers without services and waits for the sessions.
func (w *world) mesh() {
	w.t.Helper()
	for _, s := range w.speakers() {
		s.apply(request{Op: opApply, BGP: bgpOf(s.member)})
	}
	w.established(20 * time.Second)
}

func (w *world) established(within time.Duration) {
	w.t.Helper()
	for _, s := range w.speakers() {
		eventually(w.t, within, s.name+" has all its sessions", func() string {
			var down []string
			for _, p := range s.status().Peers {
				if p.State != "established" {
					down = append(down, p.Address.String()+" "+p.State)
				}
			}
			return strings.Join(down, "\n")
		})
	}
}

// serve gives the masters the article's three services and their ranks.
func (w *world) serve(rank1, rank2 int) {
	w.t.Helper()
	w.master1.apply(service(bgpOf(w.master1.member), rank1))
	w.master2.apply(service(bgpOf(w.master2.member), rank2))
}

// service asks for the article's three services, on one VIP.
func service(cfg *v1.BGP, rank int) request {
	vip := netip.MustParseAddr(vipText)
	r := request{Op: opApply, BGP: cfg, Roles: []v1.Role{{VIP: vip, Rank: rank, Nodes: 2}}}
	for port, proto := range map[uint16]v1.Protocol{55002: v1.TCP, 55003: v1.UDP, 55004: v1.SCTP} {
		r.Services = append(r.Services, v1.Service{Frontend: v1.Frontend{VIP: vip, Port: port, Protocol: proto}, Mode: v1.ModeFullNAT})
	}
	return r
}

// cli runs the gobgp command on a node.
func (w *world) cli(s *speaker, args ...string) string {
	w.t.Helper()
	return s.output(append([]string{w.gobgp}, args...)...)
}

var uptime = regexp.MustCompile(`\d\d:\d\d:\d\d`)

// neighbours prints `gobgp neighbor` with times masked.
func (w *world) neighbours(s *speaker) string {
	w.t.Helper()
	return uptime.ReplaceAllString(w.cli(s, "neighbor"), "hh:mm:ss")
}

const (
	viaMaster1 = vipText + " via 192.168.80.10 dev eth1 proto bgp"
	viaMaster2 = vipText + " via 192.168.80.11 dev eth1 proto bgp"
	birdVia1   = vipText + " via 192.168.80.10 dev eth1 proto bird metric 32"
	birdVia2   = vipText + " via 192.168.80.11 dev eth1 proto bird metric 32"
)
