package decide

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
	"github.com/weir-lb/weir/controller/ipam"
)

// told gives a Service a condition of the controller, as its status has it.
func told(kind, message string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		s.Status.Conditions = append(s.Status.Conditions, metav1.Condition{Type: prefixWeir + kind, Message: message})
	}
}

// TestReserved holds what a status keeps beside its ingress, and that it is read
// as it was written.
func TestReserved(t *testing.T) {
	for _, row := range []struct {
		says string
		kept bool
		has  []string
		want string
	}{
		{"an address that is published", false, []string{"10.0.0.1"}, ""},
		{"one that is not", false, []string{"2001:db8::1"}, "2001:db8::1 for 80/tcp, 53/udp"},
		{"one of each", false, []string{"10.0.0.1", "2001:db8::1"}, "2001:db8::1 for 80/tcp, 53/udp"},
		{"those of a service that is not served", true, []string{"10.0.0.1", "2001:db8::1"}, "10.0.0.1, 2001:db8::1 for 80/tcp, 53/udp"},
	} {
		h := ipam.Hold{Kept: row.kept, Ports: []ipam.Port{{Number: 80, Protocol: v1.TCP}, {Number: 53, Protocol: v1.UDP}}}
		for _, a := range row.has {
			h.Set(netip.MustParseAddr(a))
		}
		var got string
		if list := unpublished(h); len(list) > 0 {
			got = reserved(list, h.Ports).Message
			read := readReserved(lb("a", told(v1.ConditionReserved, got)).Status.Conditions)
			if !slices.Equal(read.List(), list) || !slices.Equal(read.Ports, h.Ports) {
				t.Errorf("%s: read as %+v", row.says, read)
			}
		}
		if got != row.want {
			t.Errorf("%s: got %q, want %q", row.says, got, row.want)
		}
	}
}

func TestReservedThatNobodyWroteHoldsNothing(t *testing.T) {
	for _, message := range []string{
		"", " for ", "10.0.0.1", "10.0.0.1 for ", " for 80/tcp", "x for 80/tcp", "10.0.0.1, x for 80/tcp", "fe80::1%eth0 for 80/tcp", "::ffff:10.0.0.1 for 80/tcp",
		"10.0.0.1 for 0/tcp", "10.0.0.1 for 65536/tcp", "10.0.0.1 for 80", "10.0.0.1 for 80/icmp", "10.0.0.1 for 80/tcp, 80/tcp", "10.0.0.1 for 80/tcp for 81/tcp",
		"10.0.0.1 for tcp=", "10.0.0.1 for tcp=!", "10.0.0.1 for tcp=zz", "10.0.0.1 for tcp=vvvvv", "10.0.0.1 for icmp=!<E3%", "10.0.0.1 for tcp=!<E3%, tcp=!<E3%",
		"10.0.0.1 for tcp=" + strings.Repeat("z", 2048) + "!<E3%", "10.0.0.1 for tcp=s8W-!",
	} {
		if h := readReserved(lb("a", told(v1.ConditionReserved, message)).Status.Conditions); !reflect.DeepEqual(h, ipam.Hold{}) {
			t.Errorf("%q holds %+v", message, h)
		}
	}
	if h := readReserved(lb("a", told("Allocated", "10.0.0.1 for 80/tcp")).Status.Conditions); len(h.List()) > 0 {
		t.Errorf("another condition holds %+v", h)
	}
}

// TestReservedFitsACondition holds that the message is short enough for an apiserver
// however many ports there are, that it loses none, and that it is words for people
// as long as they fit.
func TestReservedFitsACondition(t *testing.T) {
	addresses := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8:1111:2222:3333:4444:5555:6666")}
	of := func(protocol v1.Protocol, first, last int) (ports []ipam.Port) {
		for n := first; n <= last; n++ {
			ports = append(ports, ipam.Port{Number: uint16(n), Protocol: protocol})
		}
		return ports
	}
	random := rand.New(rand.NewPCG(1, 2))
	some := slices.DeleteFunc(slices.Concat(of(v1.TCP, 1, 65535), of(v1.UDP, 1, 65535)), func(ipam.Port) bool { return random.IntN(2) == 0 })
	fits := (maxReserved - len("10.0.0.1, 2001:db8:1111:2222:3333:4444:5555:6666 for ") + len(", ")) / len("10000/tcp, ")
	for _, row := range []struct {
		says  string
		ports []ipam.Port
		words bool
	}{
		{"one", of(v1.TCP, 80, 80), true},
		{"as many as fit", of(v1.TCP, 10000, 10000+fits-1), true},
		{"one more", of(v1.TCP, 10000, 10000+fits), false},
		{"any half of them", some, false},
		{"all that there are", slices.Concat(of(v1.TCP, 1, 65535), of(v1.UDP, 1, 65535), of(v1.SCTP, 1, 65535)), false},
	} {
		message := reserved(addresses, row.ports).Message
		if len(message) > maxReserved {
			t.Errorf("%s: %d bytes", row.says, len(message))
		}
		if words := !strings.Contains(message, "tcp="); words != row.words {
			t.Errorf("%s: words %t, want %t", row.says, words, row.words)
		}
		h := readReserved(lb("a", told(v1.ConditionReserved, message)).Status.Conditions)
		if !slices.Equal(h.List(), addresses) || !slices.Equal(h.Ports, row.ports) {
			t.Errorf("%s: %d ports of %v are read, want %d", row.says, len(h.Ports), h.List(), len(row.ports))
		}
	}
}

// TestPortsOfBefore restarts after the owner of a has it ask for the port that b
// has of the address which both share: b keeps it, and a is told where it is now.
func TestPortsOfBefore(t *testing.T) {
	of := func(ip string, numbers ...int32) func(*corev1.Service) {
		return func(s *corev1.Service) {
			in := corev1.LoadBalancerIngress{IP: ip}
			for _, n := range numbers {
				in.Ports = append(in.Ports, corev1.PortStatus{Port: n, Protocol: corev1.ProtocolTCP})
			}
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, in)
		}
	}
	for _, row := range []struct {
		says   string
		a, b   *corev1.Service
		aw, bw string
	}{
		{"ports are known", lb("a", ports("81:30080/TCP"), of("10.0.0.1", 80)), lb("b", ports("81:30081/TCP"), of("10.0.0.1", 81)), "10.0.0.2", "10.0.0.1"},
		{"b's are", lb("a", ports("81:30080/TCP"), of("10.0.0.1")), lb("b", ports("81:30081/TCP"), of("10.0.0.1", 81)), "10.0.0.2", "10.0.0.1"},
		{"none is: a is older", lb("a", ports("81:30080/TCP"), of("10.0.0.1")), lb("b", ports("81:30081/TCP"), of("10.0.0.1")), "10.0.0.1", "10.0.0.2"},
		{"what is no port is none", lb("a", ports("81:30080/TCP"), of("10.0.0.1", 0, 65536, 65617, -1)), lb("b", ports("81:30081/TCP"), of("10.0.0.1")), "10.0.0.1", "10.0.0.2"},
		{"one more port is no change of the other", lb("a", ports("80:30080/TCP", "82:30082/TCP"), of("10.0.0.1", 80)), lb("b", ports("81:30081/TCP"), of("10.0.0.1", 81)), "10.0.0.1", "10.0.0.1"},
	} {
		row.b.CreationTimestamp = metav1.Unix(1, 0)
		snap := twoByTwo()
		snap.Services = []*corev1.Service{row.a, row.b}
		d := Decide(snap, controller.Config{Pools: mustPools(t, "10.0.0.0/24")}, controller.Memory{})
		if a, b := printAddresses(serviceOf(t, d, "a").ExternalIPs), printAddresses(serviceOf(t, d, "b").ExternalIPs); a != row.aw || b != row.bw {
			t.Errorf("%s: a has %s, b has %s, want %s and %s", row.says, a, b, row.aw, row.bw)
		}
	}
}

// TestManyServicesKeepWhatTheyHold restarts a cluster of 20 000 Services of both
// families, some of which are refused by then, in another order, and with nothing
// but the Services: what they hold must not depend on how many they are.
func TestManyServicesKeepWhatTheyHold(t *testing.T) {
	const many = 20_000
	cfg := controller.Config{Pools: mustPools(t, "10.0.0.0/16,2001:db8::/64"), UniqueIP: true, UsePodNetwork: true}
	snap := twoByTwo()
	for i := range many {
		snap.Services = append(snap.Services, lb(fmt.Sprintf("s%d", i), ports("80:0/TCP"), families("PreferDualStack", "IPv6", "IPv4")))
	}
	before := Decide(snap, cfg, controller.Memory{})
	for i, o := range snap.Services {
		if i%10 == 0 {
			note("weir-lb.io/lbmode", "fulnat")(o)
		}
	}
	before = Decide(snap, cfg, before.Memory)
	after := restarted(snap, before)
	rand.New(rand.NewPCG(1, 2)).Shuffle(many, func(i, j int) { after.Services[i], after.Services[j] = after.Services[j], after.Services[i] })
	late := lb("late", ports("80:0/TCP"), families("RequireDualStack"))
	late.CreationTimestamp = metav1.Unix(1, 0) // the others are older
	after.Services = append(after.Services, late)
	d := Decide(after, cfg, controller.Memory{LBs: before.Memory.LBs})
	if n := len(d.Memory.Addresses); n != many+1 {
		t.Fatalf("%d Services hold addresses, want %d", n, many+1)
	}
	for key, h := range before.Memory.Addresses {
		if got := d.Memory.Addresses[key]; got.Addresses != h.Addresses || len(h.List()) != 2 {
			t.Fatalf("%s had %s and has %s", key, printAddresses(h.List()), printAddresses(got.List()))
		}
	}
}
