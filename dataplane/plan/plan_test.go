package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "github.com/weir-lb/weir/api/v1"
)

var (
	web  = frontend("192.0.2.1", 80)
	mail = frontend("192.0.2.1", 25)
	dns  = frontend("192.0.2.2", 53)
)

// brief prints a step in one line.
func brief(step Step) string {
	switch s := step.(type) {
	case PutBackend:
		line := fmt.Sprintf("backend %d = %s of service %d", s.ID, s.Backend.Address, s.Backend.Service)
		if s.Backend.Local {
			line += " local"
		}
		if s.Backend.LB {
			line += " lb"
		}
		if s.Backend.Retired {
			line += " retired"
		}
		return line
	case PutSlots:
		return fmt.Sprintf("slots %s = %v", s.Region, s.IDs)
	case PutSource:
		return fmt.Sprintf("source %s of %d", s.Prefix, s.Service)
	case DeleteSource:
		return fmt.Sprintf("delete source %s of %d", s.Prefix, s.Service)
	case PutService:
		line := fmt.Sprintf("service %s = %d, slots %s", s.Frontend, s.Service.ID, s.Service.Slots)
		if s.Service.Affinity > 0 {
			line += fmt.Sprintf(", affinity %d s", s.Service.Affinity)
		}
		if s.Service.Restricted {
			line += ", restricted"
		}
		return line
	case PutVIP:
		if s.VIP.Retired {
			return "retire vip " + s.Address.String()
		}
		return fmt.Sprintf("vip %s active=%t ports %d-%d", s.Address, s.VIP.Active, s.VIP.Ports.Min, s.VIP.Ports.Max)
	case DeleteService:
		return "delete service " + s.Frontend.String()
	case DeleteVIP:
		return "delete vip " + s.Address.String()
	case DeleteBackend:
		return fmt.Sprintf("delete backend %d", s.ID)
	case ReleaseService:
		return "release " + s.Frontend.String()
	}
	return "unknown step"
}

func briefs(steps []Step) []string {
	var lines []string
	for _, s := range steps {
		lines = append(lines, brief(s))
	}
	return lines
}

func monitored(s v1.Service) v1.Service {
	s.Monitor = true
	return s
}

func inactive(endpoints ...string) map[Endpoint]bool {
	set := map[Endpoint]bool{}
	for _, e := range endpoints {
		set[Endpoint{web, netip.MustParseAddrPort(e)}] = true
	}
	return set
}

func keeping(s v1.Service, seconds uint32) v1.Service {
	s.Affinity = seconds
	return s
}

func open(s v1.Service, prefixes ...string) v1.Service {
	for _, p := range prefixes {
		s.Sources = append(s.Sources, netip.MustParsePrefix(p))
	}
	return s
}

func on(addresses ...string) map[netip.Addr]bool {
	set := map[netip.Addr]bool{}
	for _, a := range addresses {
		set[netip.MustParseAddr(a)] = true
	}
	return set
}

// onLBs marks all backends of a service as those of load balancer nodes.
func onLBs(s v1.Service) v1.Service {
	for i := range s.Backends {
		s.Backends[i].LB = true
	}
	return s
}

func TestMake(t *testing.T) {
	tests := []struct {
		name          string
		before, after Desired
		scan          Scan
		elapsed       time.Duration
		want          []string
	}{
		{
			name:  "a new service: backends, slots, service, VIP",
			after: Desired{Services: []v1.Service{service(web, "10.0.0.2:8080", "10.0.0.1:8080")}},
			want: []string{
				"backend 1 = 10.0.0.1:8080 of service 1",
				"backend 2 = 10.0.0.2:8080 of service 1",
				"slots 0-1 = [1 2]",
				"service 192.0.2.1:80/tcp = 1, slots 0-1",
				"vip 192.0.2.1 active=true ports 1024-65535",
			},
		},
		{
			name:   "what is there already needs nothing, in whatever order it comes",
			before: Desired{Services: []v1.Service{service(web, "10.0.0.1:1", "10.0.0.2:1"), service(dns)}},
			after:  Desired{Services: []v1.Service{service(dns), service(web, "10.0.0.2:1", "10.0.0.1:1")}},
		},
		{
			name:   "one more endpoint writes that endpoint, one region, one entry",
			before: Desired{Services: []v1.Service{service(web, "10.0.0.1:1"), service(mail, "10.0.0.1:2")}},
			after:  Desired{Services: []v1.Service{service(web, "10.0.0.1:1", "10.0.0.2:1"), service(mail, "10.0.0.1:2")}},
			want: []string{
				"backend 3 = 10.0.0.2:1 of service 2",
				"slots 2-3 = [2 3]",
				"service 192.0.2.1:80/tcp = 2, slots 2-3",
			},
		},
		{
			name:   "another mode rewrites the entry alone",
			before: Desired{Services: []v1.Service{service(web, "10.0.0.1:1")}},
			after:  Desired{Services: []v1.Service{{Frontend: web, Mode: v1.ModeOneArm, Backends: service(web, "10.0.0.1:1").Backends}}},
			want:   []string{"service 192.0.2.1:80/tcp = 1, slots 0-0"},
		},
		{
			name: "a backend on this node and one on another load balancer node are marked",
			after: Desired{
				Services: []v1.Service{onLBs(service(web, "10.0.0.1:1", "10.0.0.2:1"))},
				Local:    on("10.0.0.1"),
			},
			want: []string{
				"backend 1 = 10.0.0.1:1 of service 1 local lb",
				"backend 2 = 10.0.0.2:1 of service 1 lb",
				"slots 0-1 = [1 2]",
				"service 192.0.2.1:80/tcp = 1, slots 0-1",
				"vip 192.0.2.1 active=true ports 1024-65535",
			},
		},
		{
			name:   "a backend that turns out to be on this node is the same one",
			before: Desired{Services: []v1.Service{service(web, "10.0.0.1:1")}},
			after:  Desired{Services: []v1.Service{service(web, "10.0.0.1:1")}, Local: on("10.0.0.1")},
			want:   []string{"backend 1 = 10.0.0.1:1 of service 1 local"},
		},
		{
			name:   "a backend that is not served loses its slots",
			before: Desired{Services: []v1.Service{service(web, "10.0.0.1:1", "10.0.0.2:1")}},
			after:  Desired{Services: []v1.Service{service(web, "10.0.0.1:1", "10.0.0.2:1")}, Unserved: on("10.0.0.1")},
			want:   []string{"slots 2-2 = [2]", "service 192.0.2.1:80/tcp = 1, slots 2-2", "backend 1 = 10.0.0.1:1 of service 1 retired"},
		},
		{
			name:   "also the last one",
			before: Desired{Services: []v1.Service{service(web, "10.0.0.1:1")}},
			after:  Desired{Services: []v1.Service{service(web, "10.0.0.1:1")}, Unserved: on("10.0.0.1")},
			want:   []string{"service 192.0.2.1:80/tcp = 1, slots empty", "backend 1 = 10.0.0.1:1 of service 1 retired"},
		},
		{
			name:   "another source address rewrites the backend alone",
			before: Desired{Services: []v1.Service{service(web, "10.0.0.1:1")}},
			after: Desired{
				Services:      []v1.Service{service(web, "10.0.0.1:1")},
				NodeAddresses: map[netip.Addr]netip.Addr{netip.MustParseAddr("10.0.0.1"): netip.MustParseAddr("10.0.0.9")},
			},
			want: []string{"backend 1 = 10.0.0.1:1 of service 1"},
		},
		{
			name:   "a service without backends stands with no slot",
			before: Desired{Services: []v1.Service{service(web, "10.0.0.1:1")}},
			after:  Desired{Services: []v1.Service{service(web)}},
			want:   []string{"service 192.0.2.1:80/tcp = 1, slots empty", "backend 1 = 10.0.0.1:1 of service 1 retired"},
		},
		{
			name:   "the last service of a VIP goes before the VIP rests",
			before: Desired{Services: []v1.Service{service(web), service(mail), service(dns)}},
			after:  Desired{Services: []v1.Service{service(web)}},
			want: []string{
				"delete service 192.0.2.1:25/tcp",
				"delete service 192.0.2.2:53/tcp",
				"retire vip 192.0.2.2",
			},
		},
		{
			name:   "a VIP goes from one service to another in one plan",
			before: Desired{Services: []v1.Service{service(web)}},
			after:  Desired{Services: []v1.Service{service(mail)}},
			want: []string{
				"service 192.0.2.1:25/tcp = 2, slots empty",
				"delete service 192.0.2.1:80/tcp",
			},
		},
		{
			name:   "a new rank rewrites the VIP alone",
			before: Desired{Services: []v1.Service{service(web)}, Roles: []v1.Role{{VIP: web.VIP, Rank: 0, Nodes: 2}}},
			after:  Desired{Services: []v1.Service{service(web)}, Roles: []v1.Role{{VIP: web.VIP, Rank: 1, Nodes: 2}}},
			want:   []string{"vip 192.0.2.1 active=false ports 33280-65535"},
		},
		{
			name:   "an unreachable backend loses its slot",
			before: Desired{Services: []v1.Service{service(web, "10.0.0.1:1", "10.0.0.2:1")}},
			after: Desired{
				Services:    []v1.Service{service(web, "10.0.0.1:1", "10.0.0.2:1")},
				Unreachable: map[netip.Addr]bool{netip.MustParseAddr("10.0.0.2"): true},
			},
			want: []string{"slots 2-2 = [1]", "service 192.0.2.1:80/tcp = 1, slots 2-2", "backend 2 = 10.0.0.2:1 of service 1 retired"},
		},
		{
			name:   "when all are unreachable they keep their slots",
			before: Desired{Services: []v1.Service{service(web, "10.0.0.1:1")}},
			after: Desired{
				Services:    []v1.Service{service(web, "10.0.0.1:1")},
				Unreachable: map[netip.Addr]bool{netip.MustParseAddr("10.0.0.1"): true},
			},
		},
		{
			name:   "an inactive backend loses its slot",
			before: Desired{Services: []v1.Service{monitored(service(web, "10.0.0.1:1", "10.0.0.2:1"))}},
			after: Desired{
				Services: []v1.Service{monitored(service(web, "10.0.0.1:1", "10.0.0.2:1"))},
				Inactive: inactive("10.0.0.2:1"),
			},
			want: []string{"slots 2-2 = [1]", "service 192.0.2.1:80/tcp = 1, slots 2-2", "backend 2 = 10.0.0.2:1 of service 1 retired"},
		},
		{
			name:   "also the last one",
			before: Desired{Services: []v1.Service{monitored(service(web, "10.0.0.1:1"))}},
			after:  Desired{Services: []v1.Service{monitored(service(web, "10.0.0.1:1"))}, Inactive: inactive("10.0.0.1:1")},
			want:   []string{"service 192.0.2.1:80/tcp = 1, slots empty", "backend 1 = 10.0.0.1:1 of service 1 retired"},
		},
		{
			name:   "an unreachable one keeps its slot when the others are inactive",
			before: Desired{Services: []v1.Service{monitored(service(web, "10.0.0.1:1", "10.0.0.2:1"))}},
			after: Desired{
				Services:    []v1.Service{monitored(service(web, "10.0.0.1:1", "10.0.0.2:1"))},
				Inactive:    inactive("10.0.0.1:1"),
				Unreachable: map[netip.Addr]bool{netip.MustParseAddr("10.0.0.2"): true},
			},
			want: []string{"slots 2-2 = [2]", "service 192.0.2.1:80/tcp = 1, slots 2-2", "backend 1 = 10.0.0.1:1 of service 1 retired"},
		},
		{
			name:   "an endpoint that is inactive for others leaves services without probes alone",
			before: Desired{Services: []v1.Service{service(web, "10.0.0.1:1")}},
			after:  Desired{Services: []v1.Service{service(web, "10.0.0.1:1")}, Inactive: inactive("10.0.0.1:1")},
		},
		{
			name:   "a service that is no longer monitored gets its backends back",
			before: Desired{Services: []v1.Service{monitored(service(web, "10.0.0.1:1"))}, Inactive: inactive("10.0.0.1:1")},
			after:  Desired{Services: []v1.Service{service(web, "10.0.0.1:1")}, Inactive: inactive("10.0.0.1:1")},
			want: []string{
				"backend 1 = 10.0.0.1:1 of service 1", "slots 0-0 = [1]", "service 192.0.2.1:80/tcp = 1, slots 0-0",
			},
		},
		{
			name:    "ids that no flow names are freed after their grace",
			before:  Desired{Services: []v1.Service{service(web, "10.0.0.1:1", "10.0.0.2:1")}},
			after:   Desired{},
			elapsed: time.Minute,
			want: []string{
				"delete service 192.0.2.1:80/tcp",
				"backend 1 = 10.0.0.1:1 of service 1 retired", "backend 2 = 10.0.0.2:1 of service 1 retired",
				"retire vip 192.0.2.1",
			},
		},
		{
			name:  "clients keep their backend",
			after: Desired{Services: []v1.Service{keeping(service(web), 90)}},
			want: []string{
				"service 192.0.2.1:80/tcp = 1, slots empty, affinity 90 s",
				"vip 192.0.2.1 active=true ports 1024-65535",
			},
		},
		{
			name:   "another time to keep it rewrites the entry alone",
			before: Desired{Services: []v1.Service{keeping(service(web), 90)}},
			after:  Desired{Services: []v1.Service{service(web)}},
			want:   []string{"service 192.0.2.1:80/tcp = 1, slots empty"},
		},
		{
			name:   "who may come in is known before all others are kept out",
			before: Desired{Services: []v1.Service{service(web)}},
			after:  Desired{Services: []v1.Service{open(service(web), "198.51.100.7/24", "192.0.2.0/24", "192.0.2.9/24")}},
			want: []string{
				"source 192.0.2.0/24 of 1", "source 198.51.100.0/24 of 1",
				"service 192.0.2.1:80/tcp = 1, slots empty, restricted",
			},
		},
		{
			name:   "one who came in before goes when the new one is let in",
			before: Desired{Services: []v1.Service{open(service(web), "192.0.2.0/24", "198.51.100.0/24")}},
			after:  Desired{Services: []v1.Service{open(service(web), "192.0.2.0/24", "203.0.113.0/24")}},
			want:   []string{"source 203.0.113.0/24 of 1", "delete source 198.51.100.0/24 of 1"},
		},
		{
			name:   "all may come in before the ranges go",
			before: Desired{Services: []v1.Service{open(service(web), "192.0.2.0/24")}},
			after:  Desired{Services: []v1.Service{service(web)}},
			want:   []string{"service 192.0.2.1:80/tcp = 1, slots empty", "delete source 192.0.2.0/24 of 1"},
		},
		{
			name:   "the ranges of a service go after it",
			before: Desired{Services: []v1.Service{open(service(web), "192.0.2.0/24"), service(mail)}},
			after:  Desired{Services: []v1.Service{service(mail)}},
			want:   []string{"delete service 192.0.2.1:80/tcp", "delete source 192.0.2.0/24 of 2"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			state, maps := NewState(), newKernel(roomy)
			if _, err := maps.run(Make(tt.before, state, Scan{}, roomy, epoch), state, epoch); err != nil {
				t.Fatal(err)
			}
			now := epoch.Add(tt.elapsed)
			p := Make(tt.after, state, tt.scan, roomy, now)
			if diff := cmp.Diff(tt.want, briefs(p.Steps), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
			if len(p.Refused) > 0 {
				t.Errorf("refused: %v", p.Refused)
			}
			if _, err := maps.run(p, state, now); err != nil {
				t.Error(err)
			}
		})
	}
}

// settle makes and runs one plan, and fails the test where a step does harm.
func settle(t *testing.T, maps *kernel, s *State, d Desired, scan Scan, now time.Time) Plan {
	t.Helper()
	p := Make(d, s, scan, maps.limits, now)
	if _, err := maps.run(p, s, now); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestIDsRestWhileFlowsNameThem(t *testing.T) {
	state, maps := NewState(), newKernel(roomy)
	settle(t, maps, state, Desired{Services: []v1.Service{service(web, "10.0.0.1:1", "10.0.0.2:1")}}, Scan{}, epoch)
	settle(t, maps, state, Desired{}, Scan{}, epoch)

	early := Scan{Started: epoch.Add(Grace / 2)}
	if p := settle(t, maps, state, Desired{}, early, epoch.Add(time.Minute)); len(p.Steps) > 0 {
		t.Errorf("a scan from within the grace frees: %v", briefs(p.Steps))
	}
	named := Scan{Started: epoch.Add(time.Minute), Services: map[uint32]bool{1: true}, Backends: map[uint32]bool{2: true},
		VIPs: map[netip.Addr]bool{web.VIP: true}}
	p := settle(t, maps, state, Desired{}, named, epoch.Add(time.Minute))
	if diff := cmp.Diff([]string{"delete backend 1"}, briefs(p.Steps)); diff != "" {
		t.Errorf("while a flow names service 1 and backend 2 (-want +got):\n%s", diff)
	}
	p = settle(t, maps, state, Desired{}, Scan{Started: epoch.Add(time.Hour)}, epoch.Add(time.Hour))
	if diff := cmp.Diff([]string{"delete backend 2", "release 192.0.2.1:80/tcp", "delete vip 192.0.2.1"}, briefs(p.Steps)); diff != "" {
		t.Errorf("when no flow names them (-want +got):\n%s", diff)
	}
	if state.Resting() {
		t.Error("something rests although all is freed")
	}
}

func TestAReturningServiceFindsItsIDs(t *testing.T) {
	state, maps := NewState(), newKernel(roomy)
	desired := Desired{Services: []v1.Service{service(web, "10.0.0.1:1")}}
	settle(t, maps, state, desired, Scan{}, epoch)
	settle(t, maps, state, Desired{}, Scan{}, epoch)
	p := settle(t, maps, state, desired, Scan{Started: epoch.Add(time.Hour)}, epoch.Add(time.Hour))
	want := []string{
		"backend 1 = 10.0.0.1:1 of service 1", "slots 0-0 = [1]",
		"service 192.0.2.1:80/tcp = 1, slots 0-0",
		"vip 192.0.2.1 active=true ports 1024-65535",
	}
	if diff := cmp.Diff(want, briefs(p.Steps)); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

func TestRefusals(t *testing.T) {
	many := func(f v1.Frontend, first, n int) v1.Service {
		s := service(f)
		for i := range n {
			s.Backends = append(s.Backends, v1.Backend{Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(first + i)}), Port: 1})
		}
		return s
	}
	heavy := many(web, 1, 2)
	heavy.Backends[0].Weight, heavy.Backends[1].Weight = 40, 1
	tests := []struct {
		name     string
		services []v1.Service
		refused  int // index
		reason   string
	}{
		{"port 0", []v1.Service{service(mail), service(frontend("192.0.2.1", 0))}, 1, ReasonInvalid},
		{"a frontend twice", []v1.Service{service(web), service(dns), service(web)}, 2, ReasonDuplicate},
		{"one VIP too many", []v1.Service{
			service(frontend("192.0.2.4", 80)), service(frontend("192.0.2.1", 80)),
			service(frontend("192.0.2.2", 80)), service(frontend("192.0.2.3", 80)),
		}, 0, ReasonVIPsExhausted},
		{"one service too many", []v1.Service{
			service(frontend("192.0.2.1", 1)), service(frontend("192.0.2.1", 2)), service(frontend("192.0.2.1", 3)),
			service(frontend("192.0.2.1", 4)), service(frontend("192.0.2.1", 5)), service(frontend("192.0.2.1", 6)),
		}, 5, ReasonServicesExhausted},
		{"one backend too many", []v1.Service{many(mail, 1, 8), many(web, 101, 4)}, 1, ReasonBackendsExhausted},
		{"one source range too many", []v1.Service{
			open(service(mail), "192.0.2.0/24", "192.0.3.0/24", "192.0.4.0/24", "192.0.5.0/24", "192.0.6.0/24"),
			open(service(web), "192.0.2.0/24", "192.0.3.0/24", "192.0.4.0/24", "192.0.5.0/24"),
		}, 1, ReasonSourcesExhausted},
		{"no room for the slots", []v1.Service{heavy, service(dns)}, 0, ReasonSlotsExhausted},
		{"no room for a table to look hashes up in", []v1.Service{hashing(many(web, 1, 2)), service(dns)}, 0, ReasonSlotsExhausted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			state, maps := NewState(), newKernel(testLimits)
			p := settle(t, maps, state, Desired{Services: tt.services}, Scan{}, epoch)
			if c, ok := p.Refused[tt.refused]; !ok || c.Reason != tt.reason || c.Status || c.Message == "" || len(p.Refused) != 1 {
				t.Errorf("refused %+v, want only [%d] for %s", p.Refused, tt.refused, tt.reason)
			}
			for i, s := range tt.services {
				if _, refused := p.Refused[i]; refused {
					continue
				}
				if got, ok := maps.targets(s.Frontend); !ok || len(got) != len(s.Backends) {
					t.Errorf("%s goes to %v, though only [%d] was refused", s.Frontend, got, tt.refused)
				}
			}
		})
	}
}

// What stands on an address goes on when that becomes the node's own; nothing new
// begins there.
func TestNoServiceBeginsOnAnOwnAddress(t *testing.T) {
	state, maps := NewState(), newKernel(testLimits)
	settle(t, maps, state, Desired{Services: []v1.Service{service(web)}}, Scan{}, epoch)
	p := settle(t, maps, state, Desired{
		Services: []v1.Service{service(web), service(dns)}, Own: map[netip.Addr]bool{web.VIP: true, dns.VIP: true},
	}, Scan{}, epoch)
	if c := p.Refused[1]; len(p.Refused) != 1 || c.Reason != ReasonOwnAddress || !strings.Contains(c.Message, dns.VIP.String()) {
		t.Errorf("refused %+v", p.Refused)
	}
}

func TestARefusedChangeLeavesTheOldServiceWhole(t *testing.T) {
	state, maps := NewState(), newKernel(testLimits)
	before := service(web, "10.0.0.1:1", "10.0.0.2:1")
	settle(t, maps, state, Desired{Services: []v1.Service{before}}, Scan{}, epoch)
	after := service(web, "10.0.0.3:1", "10.0.0.4:1")
	after.Backends[0].Weight = 90
	p := settle(t, maps, state, Desired{Services: []v1.Service{after}}, Scan{}, epoch)
	if len(p.Steps) > 0 || p.Refused[0].Reason != ReasonSlotsExhausted {
		t.Fatalf("steps %v, refused %+v", briefs(p.Steps), p.Refused)
	}
	got, _ := maps.targets(web)
	want := map[netip.AddrPort]int{netip.MustParseAddrPort("10.0.0.1:1"): 1, netip.MustParseAddrPort("10.0.0.2:1"): 1}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
}

func TestARegionRestsBeforeItIsUsedAgain(t *testing.T) {
	state, maps := NewState(), newKernel(roomy)
	at := func(now time.Time, backends ...string) string {
		t.Helper()
		p := settle(t, maps, state, Desired{Services: []v1.Service{service(web, backends...)}}, Scan{}, now)
		for _, line := range briefs(p.Steps) {
			if strings.HasPrefix(line, "service") {
				return line[strings.Index(line, "slots"):]
			}
		}
		return "no change"
	}
	for _, step := range []struct {
		after    time.Duration
		backends []string
		want     string
	}{
		{0, []string{"10.0.0.1:1"}, "slots 0-0"},
		{0, []string{"10.0.0.2:1"}, "slots 1-1"},
		{Grace, []string{"10.0.0.1:1"}, "slots 2-2"},
		{Grace + 1, []string{"10.0.0.2:1"}, "slots 0-0"},
		{Grace + 1, []string{"10.0.0.1:1", "10.0.0.2:1"}, "slots 3-4"},
		{3 * Grace, []string{"10.0.0.3:1", "10.0.0.4:1", "10.0.0.5:1"}, "slots 0-2"},
	} {
		if got := at(epoch.Add(step.after), step.backends...); got != step.want {
			t.Errorf("after %v for %v: %s, want %s", step.after, step.backends, got, step.want)
		}
	}
}

func TestPortSlicesAreDisjointAndCoverEverything(t *testing.T) {
	for nodes := 1; nodes <= 64; nodes++ {
		var ranges []PortRange
		for rank := range nodes {
			v := vipFor(v1.Role{Rank: rank, Nodes: nodes}, true)
			if v.Active != (rank == 0) {
				t.Errorf("rank %d of %d: active %t", rank, nodes, v.Active)
			}
			ranges = append(ranges, v.Ports)
		}
		slices.SortFunc(ranges, func(a, b PortRange) int { return int(a.Min) - int(b.Min) })
		next := firstPort
		for _, r := range ranges {
			if int(r.Min) != next || r.Max < r.Min {
				t.Fatalf("%d nodes: range %d-%d, want one from %d", nodes, r.Min, r.Max, next)
			}
			next = int(r.Max) + 1
		}
		if lost := lastPort + 1 - next; lost >= nodes {
			t.Errorf("%d nodes: %d ports belong to nobody", nodes, lost)
		}
	}
	if got := vipFor(v1.Role{}, false); got != (VIP{Active: true, Ports: PortRange{firstPort, lastPort}}) {
		t.Errorf("VIP without role: %+v", got)
	}
}
