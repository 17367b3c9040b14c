package build

import "github.com/weir-lb/weir/topo/spec"

// sysctl is a setting that a machine has before its page says more.
type sysctl struct {
	name, value string
	// optional settings belong to a module that may be absent.
	optional bool
}

// roleSysctls are the settings of a machine of n's role. They are written
// before the first interface exists, so that "default" reaches them all.
func roleSysctls(n *spec.Node) []sysctl {
	var s []sysctl
	if !hasIPv6(n) {
		// Neighbour discovery and listener reports would stand in every
		// capture and in every counter.
		s = append(s, sysctl{"net.ipv6.conf.default.disable_ipv6", "1", true},
			sysctl{"net.ipv6.conf.all.disable_ipv6", "1", true})
	}
	// A new namespace takes these from the machine's own; a topology is to be
	// the same everywhere.
	s = append(s, sysctl{"net.ipv4.conf.all.rp_filter", "0", false},
		sysctl{"net.ipv4.conf.default.rp_filter", "0", false})
	switch {
	case n.Role == spec.Switch:
		// A switch has no firewall; frames must not meet one on the way.
		s = append(s, sysctl{"net.bridge.bridge-nf-call-iptables", "0", true})
	case n.Role.Forwards():
		s = append(s, sysctl{"net.ipv4.ip_forward", "1", false})
	default:
		s = append(s, sysctl{"net.ipv4.ip_forward", "0", false})
	}
	if n.Role == spec.Worker || n.Role == spec.LB {
		// What kubelet and kube-proxy set on the machines of a cluster.
		s = append(s, sysctl{"net.bridge.bridge-nf-call-iptables", "1", true},
			sysctl{"net.ipv4.conf.all.route_localnet", "1", false})
	}
	return s
}

func hasIPv6(n *spec.Node) bool {
	for _, a := range n.Addresses() {
		if a.Is6() {
			return true
		}
	}
	return false
}
