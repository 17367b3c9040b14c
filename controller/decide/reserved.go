package decide

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller/ipam"
)

// What a Service holds is in its status, so that a restart finds it there,
// however many Services there are: what is published as its ingress, the rest in
// the message of the condition Reserved, which is therefore not for people alone.
// A condition has no other place for it. Who may write Services may not write
// their status: nobody claims an address by it
// (docs/adr/0016-unserved-addresses-unpublished.md).
const (
	reservedFor = " for "
	reservedAnd = ", "
)

// unpublished lists what of a hold the ingress does not say: all that a service
// holds which is not served, else what nodes do not serve.
func unpublished(h ipam.Hold) []netip.Addr {
	return slices.DeleteFunc(h.List(), func(a netip.Addr) bool { return !h.Kept && published(a) })
}

// reserved is the condition that says so: "2001:db8::1, 192.0.2.1 for 80/tcp, 53/udp".
func reserved(addresses []netip.Addr, ports []ipam.Port) v1.Condition {
	var texts, numbers []string
	for _, a := range addresses {
		texts = append(texts, a.String())
	}
	for _, p := range ports {
		numbers = append(numbers, p.String())
	}
	return v1.Condition{
		Type: v1.ConditionReserved, Status: true, Reason: ReasonReserved,
		Message: strings.Join(texts, reservedAnd) + reservedFor + strings.Join(numbers, reservedAnd),
	}
}

// readReserved reads what reserved wrote. A message that it did not write holds nothing.
func readReserved(conditions []metav1.Condition) ipam.Hold {
	c := meta.FindStatusCondition(conditions, prefixWeir+v1.ConditionReserved)
	if c == nil {
		return ipam.Hold{}
	}
	addresses, ports, _ := strings.Cut(c.Message, reservedFor)
	var h ipam.Hold
	for text := range strings.SplitSeq(addresses, reservedAnd) {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" || a.Is4In6() {
			return ipam.Hold{}
		}
		h.Set(a)
	}
	for text := range strings.SplitSeq(ports, reservedAnd) {
		number, protocol, _ := strings.Cut(text, "/")
		n, err := strconv.ParseUint(number, 10, 16)
		p := ipam.Port{Number: uint16(n), Protocol: v1.Protocol(protocol)}
		if err != nil || n == 0 || !slices.Contains([]v1.Protocol{v1.TCP, v1.UDP, v1.SCTP}, p.Protocol) || slices.Contains(h.Ports, p) {
			return ipam.Hold{}
		}
		h.Ports = append(h.Ports, p)
	}
	return h
}

// Told lists the addresses that a Service's status says it holds, published or
// not: what a restart finds.
func Told(o *corev1.Service) []netip.Addr { return readTold(o.Status).List() }

// readTold reads what a status says is held. The ports of before are as much a
// part of it as the address: without them a service that shares an address could
// not be told from one that asks for its port since.
func readTold(s corev1.ServiceStatus) ipam.Hold {
	h, reserved := readIngress(s.LoadBalancer.Ingress), readReserved(s.Conditions)
	for _, a := range reserved.List() {
		h.Set(a)
	}
	if len(reserved.Ports) > 0 {
		h.Ports = reserved.Ports
	}
	return h
}

// readIngress reads what the Service got before, the first address of each
// family. LoxiLB writes one as the host name llb-ADDRESS, and no ports.
func readIngress(ingress []corev1.LoadBalancerIngress) (h ipam.Hold) {
	for _, in := range ingress {
		text := in.IP
		if text == "" {
			text = strings.TrimPrefix(in.Hostname, "llb-")
		}
		if a, err := netip.ParseAddr(text); err == nil && !h.Of(a.Is6()).IsValid() {
			h.Set(a)
		}
		if len(h.Ports) == 0 {
			h.Ports = portsOf(in.Ports)
		}
	}
	return h
}

func portsOf(status []corev1.PortStatus) (ports []ipam.Port) {
	for _, o := range status {
		protocol, bad := readProtocol("", o.Protocol)
		if p := (ipam.Port{Number: uint16(o.Port), Protocol: protocol}); bad == nil && o.Port > 0 && o.Port <= 65535 && !slices.Contains(ports, p) {
			ports = append(ports, p)
		}
	}
	return ports
}
