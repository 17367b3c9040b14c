package lab

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/weir-lb/weir/topo/spec"
)

// Ports of the VIP. Backends listen at others, so that ports change too.
const (
	PortChain = 5000 // UDP, to all of Backends
	PortHTTP  = 80   // TCP, to nginx
	PortIperf = 5201 // TCP, to iperf3, whose two connections need one server
)

// chainBackends is how many backends share the chain's flows: each has 64 512
// source ports for one source address, and a million flows must find theirs.
const chainBackends = 16

// services returns n services, and those of TCP: that of the chain is the middle
// one, so that who searches in a line has half of it before it.
func services(n int) []spec.Service {
	all := make([]spec.Service, 0, n+2)
	for i := range n {
		if i == n/2 {
			all = append(all, chainService())
			continue
		}
		all = append(all, other(i))
	}
	at := func(name string, port, target int) spec.Service {
		return spec.Service{
			Name: "bench/" + name, Protocol: "tcp", ClusterIP: clusterIP(60000 + port), VIP: VIP, Port: port, Policy: "Cluster",
			Endpoints: []netip.AddrPort{netip.AddrPortFrom(Server, uint16(target))},
		}
	}
	return append(all, at("http", PortHTTP, 8080), at("iperf", PortIperf, PortIperf))
}

func chainService() spec.Service {
	s := spec.Service{Name: "bench/chain", Protocol: "udp", ClusterIP: clusterIP(1), VIP: VIP, Port: PortChain, Policy: "Cluster"}
	address := Backends.Addr()
	for range chainBackends {
		address = address.Next()
		s.Endpoints = append(s.Endpoints, netip.AddrPortFrom(address, 7000))
	}
	return s
}

// other is a service that nobody asks for; ten share a VIP.
func other(i int) spec.Service {
	return spec.Service{
		Name: fmt.Sprintf("bench/other-%d", i), Protocol: "udp", ClusterIP: clusterIP(i + 10), VIP: offset("203.0.114.0", i/10),
		Port: 5000 + i%10, Policy: "Cluster", Endpoints: []netip.AddrPort{netip.AddrPortFrom(Backends.Addr().Next(), 7000)},
	}
}

func clusterIP(i int) netip.Addr { return offset("10.96.0.0", i) }

func offset(first string, i int) netip.Addr {
	b := netip.MustParseAddr(first).As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(i))
	return netip.AddrFrom4(b)
}
