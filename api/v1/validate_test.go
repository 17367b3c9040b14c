package v1

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func goodService() Service {
	return Service{
		Frontend: Frontend{VIP: netip.MustParseAddr("192.0.2.1"), Port: 80, Protocol: TCP},
		Mode:     ModeFullNAT,
		Backends: []Backend{
			{Address: netip.MustParseAddr("198.51.100.1"), Port: 8080},
			{Address: netip.MustParseAddr("198.51.100.2"), Port: 8080, Weight: MaxWeight},
		},
	}
}

// checkField compares an error's path and the start of its message; an empty
// path means that no error is wanted.
func checkField(t *testing.T, err error, path, message string) {
	t.Helper()
	if path == "" {
		if err != nil {
			t.Errorf("got %v, want no error", err)
		}
		return
	}
	field, ok := errors.AsType[*FieldError](err)
	if !ok {
		t.Fatalf("got %v, want a *FieldError for %s", err, path)
	}
	if field.Path != path || !strings.HasPrefix(field.Message, message) {
		t.Errorf("got  %s\nwant %s: %s...", field, path, message)
	}
}

func TestValidateService(t *testing.T) {
	addr := netip.MustParseAddr
	rows := []struct {
		name          string
		change        func(*Service)
		path, message string
	}{
		{"as it should be", func(*Service) {}, "", ""},
		{"no backends", func(s *Service) { s.Backends = nil }, "", ""},
		{"every protocol", func(s *Service) { s.Protocol = SCTP }, "", ""},
		{"rr named", func(s *Service) { s.Algorithm = RoundRobin }, "", ""},
		{"hash", func(s *Service) { s.Algorithm = Hash }, "", ""},
		{"no address", func(s *Service) { s.VIP = netip.Addr{} }, "vip", "no address given"},
		{"IPv6", func(s *Service) { s.VIP = addr("2001:db8::1") }, "vip", "2001:db8::1 is not IPv4"},
		{"unspecified", func(s *Service) { s.VIP = addr("0.0.0.0") }, "vip", "0.0.0.0 cannot be a service address"},
		{"loopback", func(s *Service) { s.VIP = addr("127.0.0.1") }, "vip", "127.0.0.1 cannot"},
		{"multicast", func(s *Service) { s.VIP = addr("224.0.0.1") }, "vip", "224.0.0.1 cannot"},
		{"link-local", func(s *Service) { s.VIP = addr("169.254.0.1") }, "vip", "169.254.0.1 cannot"},
		{"port 0", func(s *Service) { s.Port = 0 }, "port", "0 is no port"},
		{"Kubernetes' spelling", func(s *Service) { s.Protocol = "TCP" }, "protocol", `unknown protocol "TCP"`},
		{"unknown mode", func(s *Service) { s.Mode = "halfnat" }, "mode", `unknown mode "halfnat"`},
		{"no mode", func(s *Service) { s.Mode = "" }, "mode", `unknown mode ""`},
		{"unknown algorithm", func(s *Service) { s.Algorithm = "lc" }, "algorithm", `unknown algorithm "lc", use rr or hash`},
		{"backend without address", func(s *Service) { s.Backends[1].Address = netip.Addr{} }, "backends[1].address", "no address given"},
		{"backend of IPv6", func(s *Service) { s.Backends[0].Address = addr("2001:db8::1") }, "backends[0].address", "2001:db8::1 is not IPv4"},
		{"backend that is loopback", func(s *Service) { s.Backends[0].Address = addr("127.0.0.1") }, "backends[0].address", "127.0.0.1 cannot be a backend"},
		{"backend port 0", func(s *Service) { s.Backends[1].Port = 0 }, "backends[1].port", "0 is no port"},
		{"too heavy", func(s *Service) { s.Backends[1].Weight = MaxWeight + 1 }, "backends[1].weight", "101 is over 100"},
		{"one backend twice", func(s *Service) { s.Backends[1] = s.Backends[0] }, "backends[1]", "198.51.100.1:8080 is backends[0] already"},
		{"a time-out of more than a day", func(s *Service) { s.IdleTimeout = MaxIdleTimeout + 1 }, "idleTimeout", "86401 s, at most 86400"},
		{"too many backends", func(s *Service) { s.Backends = make([]Backend, MaxBackends+1) }, "backends", "1025 backends, at most 1024"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			s := goodService()
			r.change(&s)
			checkField(t, ValidateService(s), r.path, r.message)
		})
	}
}

func TestValidateState(t *testing.T) {
	addr := netip.MustParseAddr
	rows := []struct {
		name          string
		change        func(*NodeState)
		path, message string
	}{
		{"as it should be", func(*NodeState) {}, "", ""},
		{"nothing at all", func(s *NodeState) { *s = NodeState{} }, "", ""},
		{"a bad service is its own affair", func(s *NodeState) { s.Services = []Service{{}} }, "", ""},
		{"role without VIP", func(s *NodeState) { s.Roles[1].VIP = netip.Addr{} }, "roles[1].vip", "no address given"},
		{"negative rank", func(s *NodeState) { s.Roles[0].Rank = -1 }, "roles[0].rank", "-1 is not within"},
		{"rank beyond the nodes", func(s *NodeState) { s.Roles[0].Rank = 2 }, "roles[0].nodes", "2 nodes cannot hold rank 2"},
		{"too many nodes", func(s *NodeState) { s.Roles[0].Nodes = 65 }, "roles[0].nodes", "65 nodes cannot"},
		{"two roles for one VIP", func(s *NodeState) { s.Roles[1].VIP = s.Roles[0].VIP }, "roles[1].vip", "192.0.2.1 is roles[0] already"},
		{"AS 0", func(s *NodeState) { s.BGP.ASN = 0 }, "bgp.asn", "0 is no AS number"},
		{"router ID of IPv6", func(s *NodeState) { s.BGP.RouterID = addr("::1") }, "bgp.routerID", "::1 is not an IPv4 address"},
		{"hold time under 3 s", func(s *NodeState) { s.BGP.HoldTime = 2 }, "bgp.holdTime", "2 s, at least 3"},
		{"peer without address", func(s *NodeState) { s.BGP.Peers[0].Address = netip.Addr{} }, "bgp.peers[0].address", "no address given"},
		{"peer of AS 0", func(s *NodeState) { s.BGP.Peers[1].ASN = 0 }, "bgp.peers[1].asn", "0 is no AS number"},
		{"peer without role", func(s *NodeState) { s.BGP.Peers[1].Role = "" }, "bgp.peers[1].role", `unknown role ""`},
		{"one peer twice", func(s *NodeState) { s.BGP.Peers[1] = s.BGP.Peers[0] }, "bgp.peers[1].address", "192.0.2.11 is bgp.peers[0] already"},
		{"empty prefix", func(s *NodeState) { s.BGP.VIPs = append(s.BGP.VIPs, netip.Prefix{}) }, "bgp.vips[1]", "not a prefix"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			s := NodeState{
				Roles: []Role{{VIP: addr("192.0.2.1"), Rank: 1, Nodes: 2}, {VIP: addr("192.0.2.2"), Nodes: 1}},
				BGP: &BGP{
					ASN: 64512, RouterID: addr("192.0.2.10"), HoldTime: 3,
					Peers: []Peer{{Address: addr("192.0.2.11"), ASN: 64512, Role: PeerLB}, {Address: addr("192.0.2.12"), ASN: 65101, Role: PeerExternal}},
					VIPs:  []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
				},
			}
			r.change(&s)
			checkField(t, ValidateState(s), r.path, r.message)
		})
	}
}

func TestValidateOwner(t *testing.T) {
	for owner, ok := range map[string]bool{
		"controller": true, "netlox": true, "a": true, "a-1": true, strings.Repeat("a", MaxOwner): true,
		"": false, "A": false, "1a": false, "-a": false, "a/b": false, "a_b": false, "ä": false, strings.Repeat("a", MaxOwner+1): false,
	} {
		if err := ValidateOwner(owner); (err == nil) != ok {
			t.Errorf("owner %q: got %v, want ok %v", owner, err, ok)
		}
	}
}

func TestGenerationOrder(t *testing.T) {
	ascending := []Generation{{0, 0}, {0, 1}, {0, 9}, {1, 0}, {1, 8}, {2, 1}}
	for i, a := range ascending {
		for j, b := range ascending {
			if got := a.Compare(b); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%s compared with %s is %d", a, b, got)
			}
		}
	}
}

func TestProtocolNumbersHaveAnInverse(t *testing.T) {
	for _, p := range []Protocol{TCP, UDP, SCTP} {
		if got := ProtocolFromNumber(p.Number()); got != p {
			t.Errorf("%s -> %d -> %s", p, p.Number(), got)
		}
	}
	for n := range 256 {
		if p := ProtocolFromNumber(uint8(n)); p != "" && p.Number() != uint8(n) {
			t.Errorf("%d -> %s -> %d", n, p, p.Number())
		}
	}
}
