package health

import (
	"cmp"
	"net/netip"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Target is what is probed: once, however many services lead to it.
type Target struct {
	Type v1.ProbeType `json:"type"`
	// Address is what is asked; a ping's port is zero.
	Address netip.AddrPort `json:"address"`
	// Spec has what a service asks for beyond; its Type and Port are empty.
	Spec v1.ProbeSpec `json:"spec,omitzero"`
}

// NewTarget returns what tells the health of one backend of s.
func NewTarget(s v1.Service, b v1.Backend) Target {
	t := Target{Type: cmp.Or(s.Probe.Type, v1.ProbeType(s.Protocol)), Spec: s.Probe}
	port := cmp.Or(s.Probe.Port, b.Port)
	if t.Type == v1.ProbePing {
		port = 0
	}
	t.Address = netip.AddrPortFrom(b.Address, port)
	t.Spec.Type, t.Spec.Port = "", 0
	return t
}

// Protocol is that of the probe's packets, empty for a ping.
func (t Target) Protocol() v1.Protocol {
	switch t.Type {
	case v1.ProbeTCP, v1.ProbeHTTP, v1.ProbeHTTPS:
		return v1.TCP
	case v1.ProbeUDP:
		return v1.UDP
	case v1.ProbeSCTP:
		return v1.SCTP
	}
	return ""
}

// silent says that an endpoint which says nothing is a healthy one.
func (t Target) silent() bool { return t.Type == v1.ProbeUDP && t.Spec.Expect == "" }
