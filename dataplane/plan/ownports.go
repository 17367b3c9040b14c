package plan

// minOwnPorts is how many source ports a node's own address must have for flows
// alone: as many to one backend at once. The local range 1024-60999, which some
// set, leaves 4536.
const minOwnPorts = 4096

// OwnPorts chooses the source ports of flows whose source is an address of this
// node, which its sockets have too. They are the most in a row from 1024 on that
// are neither in local, from which the kernel chooses for sockets
// (net.ipv4.ip_local_port_range), nor reserved for what chooses its port itself
// (ip_local_reserved_ports). Where less than 4096 are left they are not apart:
// then they are all, because a flow meets a socket the less often the more there are.
func OwnPorts(local PortRange, reserved []PortRange) (own PortRange, apart bool) {
	within := func(port int, r PortRange) bool { return port >= int(r.Min) && port <= int(r.Max) }
	free := func(port int) bool {
		for _, r := range reserved {
			if within(port, r) {
				return false
			}
		}
		return !within(port, local)
	}
	first, most := firstPort, 0
	for port := firstPort; port <= lastPort; port++ {
		if !free(port) {
			first = port + 1
			continue
		}
		if n := port - first + 1; n > most {
			own, most = PortRange{Min: uint16(first), Max: uint16(port)}, n
		}
	}
	if most < minOwnPorts {
		return PortRange{Min: firstPort, Max: lastPort}, false
	}
	return own, true
}
