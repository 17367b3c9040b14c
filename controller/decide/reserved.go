package decide

import (
	"encoding/ascii85"
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
	// reservedAs stands between a protocol and its ports in one word.
	reservedAs = "="
)

// maxReserved is the longest message that an apiserver takes in a condition, in
// bytes. A Service may have more ports than so many words.
const maxReserved = 32 << 10

// unpublished lists what of a hold the ingress does not say: all that a service
// holds which is not served, else what nodes do not serve.
func unpublished(h ipam.Hold) []netip.Addr {
	return slices.DeleteFunc(h.List(), func(a netip.Addr) bool { return !h.Kept && published(a) })
}

// reserved is the condition that says so: "2001:db8::1, 192.0.2.1 for 80/tcp, 53/udp".
// Ports that this is too short for are in one word for each protocol.
func reserved(addresses []netip.Addr, ports []ipam.Port) v1.Condition {
	var texts, numbers []string
	for _, a := range addresses {
		texts = append(texts, a.String())
	}
	for _, p := range ports {
		numbers = append(numbers, p.String())
	}
	c := v1.Condition{Type: v1.ConditionReserved, Status: true, Reason: ReasonReserved}
	before := strings.Join(texts, reservedAnd) + reservedFor
	if c.Message = before + strings.Join(numbers, reservedAnd); len(c.Message) > maxReserved {
		c.Message = before + strings.Join(packPorts(ports), reservedAnd)
	}
	return c
}

// reservable are the protocols that ports have.
var reservable = []v1.Protocol{v1.TCP, v1.UDP, v1.SCTP}

// packPorts writes ports as one word for each protocol, "tcp=" and a bit for each
// number up to the largest one, the lowest bit first, in Ascii85: 10 KiB at most.
func packPorts(ports []ipam.Port) []string {
	var out []string
	for _, protocol := range reservable {
		var bits []byte
		for _, p := range ports {
			if p.Protocol != protocol {
				continue
			}
			for len(bits) <= int(p.Number)/8 {
				bits = append(bits, 0)
			}
			bits[p.Number/8] |= 1 << (p.Number % 8)
		}
		if len(bits) == 0 {
			continue
		}
		word := make([]byte, ascii85.MaxEncodedLen(len(bits)))
		out = append(out, string(protocol)+reservedAs+string(word[:ascii85.Encode(word, bits)]))
	}
	return out
}

// readReservedPorts reads one word of a message, false where it is none: "80/tcp", or what packPorts wrote.
func readReservedPorts(word string) ([]ipam.Port, bool) {
	if protocol, packed, ok := strings.Cut(word, reservedAs); ok && slices.Contains(reservable, v1.Protocol(protocol)) {
		return unpackPorts(v1.Protocol(protocol), packed)
	}
	number, protocol, _ := strings.Cut(word, "/")
	n, err := strconv.ParseUint(number, 10, 16)
	return []ipam.Port{{Number: uint16(n), Protocol: v1.Protocol(protocol)}}, err == nil && n > 0 && slices.Contains(reservable, v1.Protocol(protocol))
}

func unpackPorts(protocol v1.Protocol, packed string) (ports []ipam.Port, ok bool) {
	bits := make([]byte, 4*len(packed)) // of a "z", which is four zeros
	n, _, err := ascii85.Decode(bits, []byte(packed), true)
	if err != nil || n > 65536/8 {
		return nil, false
	}
	for i, b := range bits[:n] {
		for j := range 8 {
			if number := 8*i + j; b>>j&1 == 1 {
				ports = append(ports, ipam.Port{Number: uint16(number), Protocol: protocol})
			}
		}
	}
	return ports, len(ports) > 0 && ports[0].Number > 0
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
		if err != nil || !ours(a) {
			return ipam.Hold{}
		}
		h.Set(a)
	}
	taken := map[ipam.Port]bool{}
	for word := range strings.SplitSeq(ports, reservedAnd) {
		read, ok := readReservedPorts(word)
		for _, p := range read {
			ok = ok && !taken[p]
			taken[p] = true
		}
		if !ok {
			return ipam.Hold{}
		}
		h.Ports = append(h.Ports, read...)
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
		if a, err := netip.ParseAddr(text); err == nil && ours(a) && !h.Of(a.Is6()).IsValid() {
			h.Set(a)
		}
		if len(h.Ports) == 0 {
			h.Ports = portsOf(in.Ports)
		}
	}
	return h
}

// ours says that an address is written as those that are given.
func ours(a netip.Addr) bool { return a.Zone() == "" && !a.Is4In6() }

func portsOf(status []corev1.PortStatus) (ports []ipam.Port) {
	for _, o := range status {
		protocol, bad := readProtocol("", o.Protocol)
		if p := (ipam.Port{Number: uint16(o.Port), Protocol: protocol}); bad == nil && o.Port > 0 && o.Port <= 65535 && !slices.Contains(ports, p) {
			ports = append(ports, p)
		}
	}
	return ports
}
