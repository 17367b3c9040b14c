package doctor

import (
	"cmp"
	"fmt"
	"strings"

	v1 "github.com/weir-lb/weir/api/v1"
)

// listed is how many names a line has at most.
const listed = 5

// bgpPort is the TCP port of BGP where none is given (RFC 4271).
const bgpPort uint16 = 179

// daemon says whether weir answers, and what it says of itself as a whole.
func daemon(c *check, f Facts) {
	if f.Observed == nil {
		c.fail("start it, or name its socket by --socket; what follows is of the machine alone", "weir does not answer: %s", f.Silence)
		return
	}
	o := f.Observed
	c.note("weir %s runs on %s as %s", o.Version, o.Node, o.Mode)
	for _, w := range o.Owners {
		if w.Error != "" {
			c.fail("see the log of weir", "what %s wants (generation %s) is not in force: %s", w.Owner, w.Desired, w.Error)
		}
	}
	for _, d := range o.Conditions {
		if !d.Status && d.Type != v1.ConditionPacketsSeen { // the check of programs has that
			c.warn("see the message", "%s: %s", d.Reason, d.Message)
		}
	}
	if len(o.Owners) == 0 {
		c.warn("see that kube-weir runs and reaches this node: weirctl get nodes, where it runs", "nobody has told this node what to do")
	}
}

// services names those that are not served.
func services(c *check, f Facts) {
	if f.Observed == nil || f.peer() {
		c.note("none are served here")
		return
	}
	var broken []string
	why := ""
	for _, s := range f.Observed.Services {
		if s.Programmed {
			continue
		}
		broken = append(broken, s.Name)
		for _, d := range s.Conditions {
			if why == "" && !d.Status {
				why = d.Reason + ": " + d.Message
			}
		}
	}
	if len(broken) > 0 {
		c.fail("see the conditions by weirctl get lb -o json", "%d of %d services are not served: %s; the first says %s", len(broken), len(f.Observed.Services), names(broken), why)
	}
	partly(c, f.Observed.Services)
	c.otherwise("%d services are served", len(f.Observed.Services))
}

// partly names services that are served, but not as they were asked for: one
// finding for each type and reason, with the message of the first.
func partly(c *check, services []v1.ServiceStatus) {
	type kind struct{ Type, Reason string }
	having, says := map[kind][]string{}, map[kind]string{}
	var order []kind
	for _, s := range services {
		for _, d := range s.Conditions {
			ofBackends := d.Type == v1.ConditionReachable || d.Type == v1.ConditionHealthy // named by the check backends
			if !s.Programmed || d.Status || ofBackends {
				continue
			}
			k := kind{d.Type, d.Reason}
			if having[k] == nil {
				order, says[k] = append(order, k), d.Message
			}
			having[k] = append(having[k], s.Name)
		}
	}
	for _, k := range order {
		c.warn("see the message, and all conditions by weirctl get lb -o json",
			"%s/%s of %s: %s", k.Type, k.Reason, names(having[k]), says[k])
	}
}

// backends names those that get no traffic.
func backends(c *check, f Facts) {
	if f.Observed == nil || f.peer() {
		c.note("none are watched here")
		return
	}
	var unreachable, inactive, unserved []string
	for _, s := range f.Observed.Services {
		for _, b := range s.BackendStates {
			switch b.State {
			case v1.BackendUnreachable:
				unreachable = append(unreachable, b.Address.String())
			case v1.BackendInactive:
				inactive = append(inactive, b.Address.String())
			case v1.BackendUnserved:
				unserved = append(unserved, b.Address.String())
			}
		}
	}
	if len(unreachable) > 0 {
		c.fail("see ip route get and ip neigh for the address: the node is down, or its network lacks the way", "no route or no neighbour: %s", names(unreachable))
	}
	if len(inactive) > 0 {
		c.warn("see weirctl get ep for what the probe says", "probes fail: %s", names(inactive))
	}
	if len(unserved) > 0 {
		c.warn("start weir with --egr-hooks", "on this node, and so not used: %s", names(unserved))
	}
	c.otherwise("every backend can be reached")
}

// sessions names those that are down.
func sessions(c *check, f Facts) {
	if f.Observed == nil {
		c.note("nobody knows of sessions while weir does not answer")
		return
	}
	b := f.Observed.BGP
	if b == nil {
		if f.peer() {
			c.warn("see that kube-weir runs with --setBGP and finds this node as a peer", "a peer speaks BGP, and this one was not told with whom")
		}
		c.otherwise("BGP is off")
		return
	}
	for _, p := range b.Peers {
		if p.State != "established" {
			c.fail("see that the peer runs, that "+ports(*b, p)+", and that AS numbers and passwords agree",
				"session with %s (AS %d) is %s", p.Address, p.ASN, p.State)
		}
	}
	for _, d := range b.Conditions {
		if !d.Status {
			c.warn("see the message", "%s: %s", d.Reason, d.Message)
		}
	}
	if len(b.Peers) == 0 {
		c.warn("see weirctl get nodes where kube-weir runs: it finds peers by its Services", "BGP is on, without any peer")
	}
	c.otherwise("%d sessions are up, %d routes learned", len(b.Peers), len(b.Routes))
}

// ports says which TCP ports a session needs: either end may open it.
func ports(b v1.BGPStatus, p v1.PeerStatus) string {
	here, there := cmp.Or(b.ListenPort, bgpPort), cmp.Or(p.Port, bgpPort)
	if here == there {
		return fmt.Sprintf("port %d is open both ways", here)
	}
	return fmt.Sprintf("port %d here and port %d there are open", here, there)
}

// names joins the first few, each once.
func names(all []string) string {
	var once []string
	seen := map[string]bool{}
	for _, n := range all {
		if !seen[n] {
			once = append(once, n)
		}
		seen[n] = true
	}
	if len(once) > listed {
		once = append(once[:listed], "...")
	}
	return strings.Join(once, ", ")
}
