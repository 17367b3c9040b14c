package maps

import (
	"fmt"
	"net/netip"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/dataplane/plan"
)

var modes = map[v1.Mode]uint8{
	v1.ModeDefault: bpf.ModeDefault,
	v1.ModeOneArm:  bpf.ModeOnearm,
	v1.ModeFullNAT: bpf.ModeFullnat,
}

var algorithms = map[v1.Algorithm]uint8{
	v1.RoundRobin: bpf.AlgorithmRR,
	v1.Hash:       bpf.AlgorithmHash,
}

func vipOut(v plan.VIP) bpf.VIP {
	out := bpf.VIP{PortMin: v.Ports.Min, PortMax: v.Ports.Max} // host order
	if v.Active {
		out.Flags |= bpf.VIPActive
	}
	if v.Retired {
		out.Flags |= bpf.VIPRetired
	}
	return out
}

func vipIn(v bpf.VIP) plan.VIP {
	return plan.VIP{
		Active:  v.Flags&bpf.VIPActive != 0,
		Retired: v.Flags&bpf.VIPRetired != 0,
		Ports:   plan.PortRange{Min: v.PortMin, Max: v.PortMax},
	}
}

func serviceKeyOut(f v1.Frontend) bpf.ServiceKey {
	return bpf.ServiceKey{Vip: bpf.Addr(f.VIP), Port: bpf.Port(f.Port), Proto: f.Protocol.Number()}
}

func serviceKeyIn(k bpf.ServiceKey) v1.Frontend {
	return v1.Frontend{
		VIP: bpf.AddrFrom(k.Vip), Port: bpf.Port(k.Port),
		Protocol: v1.ProtocolFromNumber(k.Proto),
	}
}

func serviceOut(s plan.Service) (bpf.Service, error) {
	mode, ok := modes[s.Mode]
	if !ok {
		return bpf.Service{}, fmt.Errorf("the dataplane has no mode %q", s.Mode)
	}
	algorithm, ok := algorithms[s.Algorithm]
	if !ok {
		return bpf.Service{}, fmt.Errorf("the dataplane has no algorithm %q", s.Algorithm)
	}
	out := bpf.Service{
		Id: s.ID, SlotOffset: s.Slots.Offset, SlotCount: s.Slots.Count,
		Mode: mode, Algorithm: algorithm, Affinity: s.Affinity,
	}
	if s.Restricted {
		out.Flags |= bpf.ServiceSources
	}
	return out, nil
}

func serviceIn(s bpf.Service) plan.Service {
	return plan.Service{
		ID: s.Id, Slots: plan.Region{Offset: s.SlotOffset, Count: s.SlotCount},
		Mode: nameOf(modes, s.Mode), Algorithm: nameOf(algorithms, s.Algorithm),
		Affinity: s.Affinity, Restricted: s.Flags&bpf.ServiceSources != 0,
	}
}

// serviceBits are those of a source's key that name the service.
const serviceBits = 32

func sourceKeyOut(service uint32, prefix netip.Prefix) bpf.SourceKey {
	return bpf.SourceKey{Bits: uint32(serviceBits + prefix.Bits()), Service: service, Addr: bpf.Addr(prefix.Masked().Addr())}
}

func sourceKeyIn(k bpf.SourceKey) (service uint32, prefix netip.Prefix) {
	return k.Service, netip.PrefixFrom(bpf.AddrFrom(k.Addr), int(k.Bits)-serviceBits)
}

func nameOf[Name comparable](names map[Name]uint8, number uint8) Name {
	for name, n := range names {
		if n == number {
			return name
		}
	}
	var none Name
	return none
}

func backendOut(b plan.Backend) bpf.Backend {
	out := bpf.Backend{Port: bpf.Port(b.Address.Port()), Service: b.Service}
	if b.Address.Addr().Is4() {
		out.Addr = bpf.Addr(b.Address.Addr())
	}
	if b.NodeAddress.Is4() {
		out.NodeAddr = bpf.Addr(b.NodeAddress)
	}
	if b.Local {
		out.Flags |= bpf.BackendLocal
	}
	if b.LB {
		out.Flags |= bpf.BackendLB
	}
	if b.Retired {
		out.Flags |= bpf.BackendRetired
	}
	return out
}

func backendIn(b bpf.Backend) plan.Backend {
	in := plan.Backend{
		Service: b.Service,
		Address: netip.AddrPortFrom(bpf.AddrFrom(b.Addr), bpf.Port(b.Port)),
		Local:   b.Flags&bpf.BackendLocal != 0, LB: b.Flags&bpf.BackendLB != 0,
		Retired: b.Flags&bpf.BackendRetired != 0,
	}
	if b.NodeAddr != 0 {
		in.NodeAddress = bpf.AddrFrom(b.NodeAddr)
	}
	return in
}
