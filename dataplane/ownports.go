package dataplane

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/dataplane/plan"
)

// Of the network namespace of who reads.
const (
	localPortsFile    = "/proc/sys/net/ipv4/ip_local_port_range"
	reservedPortsFile = "/proc/sys/net/ipv4/ip_local_reserved_ports"
)

// ReasonLocalPortRange is of v1.ConditionOwnPorts: the kernel's sockets leave too
// few ports; set net.ipv4.ip_local_port_range to 32768-60999 and restart weir.
const ReasonLocalPortRange = "LocalPortRange"

// keepApart gives flows whose source is this node's address ports that the kernel
// gives to none of its sockets.
func (d *Dataplane) keepApart() error {
	local, err := readPorts(localPortsFile)
	if err == nil && len(local) != 1 {
		err = fmt.Errorf("read %s: %d ranges, want one", localPortsFile, len(local))
	}
	if err != nil {
		return err
	}
	reserved, err := readPorts(reservedPortsFile)
	if err != nil {
		return err
	}
	own, apart := plan.OwnPorts(local[0], reserved)
	if !apart {
		d.crowdedPorts = crowdedPorts(local[0])
	}
	return d.maps.SetOwnPorts(own)
}

// crowdedPorts says that flows and sockets of this node choose from the same ports.
func crowdedPorts(local plan.PortRange) []v1.Condition {
	return []v1.Condition{{
		Type: v1.ConditionOwnPorts, Reason: ReasonLocalPortRange,
		Message: fmt.Sprintf("net.ipv4.ip_local_port_range (%d-%d) and ip_local_reserved_ports leave too few ports: a flow whose source is this "+
			"node's address may take the connection of a process to the same backend; set the range to 32768-60999, or let both leave "+
			"4096 ports in a row from 1024 on, and restart weir", local.Min, local.Max),
	}}
}

func readPorts(file string) ([]plan.PortRange, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read local ports: %w", err)
	}
	ranges, err := parsePorts(string(text))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return ranges, nil
}

// parsePorts reads "32768\t60999" and "8080,9148-9150": what the kernel writes has two
// forms, and neither can be mistaken for the other.
func parsePorts(text string) ([]plan.PortRange, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	var ranges []plan.PortRange
	for _, one := range strings.Split(strings.Join(strings.Fields(text), "-"), ",") {
		low, high, is := strings.Cut(one, "-")
		if !is {
			high = low
		}
		first, err := strconv.ParseUint(low, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%q is no port", low)
		}
		last, err := strconv.ParseUint(high, 10, 16)
		if err != nil || last < first {
			return nil, fmt.Errorf("%q ends no range from port %d", high, first)
		}
		ranges = append(ranges, plan.PortRange{Min: uint16(first), Max: uint16(last)})
	}
	return ranges, nil
}
