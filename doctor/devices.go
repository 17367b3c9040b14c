package doctor

import (
	"fmt"
	"slices"
	"strings"

	v1 "github.com/weir-lb/weir/api/v1"
)

// interfaces says where packets are taken, and compares it with what is
// attached in fact.
func interfaces(c *check, f Facts) {
	ours := f.withOurs()
	switch {
	case f.peer():
		c.note("weir is a peer and takes no packets")
		return
	case f.Observed == nil && len(ours) > 0:
		c.note("programs of weir forward on without it at %s", strings.Join(ours, ", "))
		return
	case f.Observed == nil:
		c.note("no program of weir is attached")
		return
	}
	for _, i := range f.Observed.Interfaces {
		if i.Hook == "none" || i.Hook == "" {
			continue
		}
		if !slices.Contains(ours, i.Name) && f.sees(i.Name) {
			c.fail("restart weir; see its log", "weir takes packets at %s (%s), but its program is not there any more", i.Name, i.Hook)
			continue
		}
		c.note("%s", where(i))
	}
	if len(f.hooked()) == 0 {
		c.fail("see the reasons by weirctl doctor -o json or GET /v1/observed; name the node's own interfaces by --whitelist",
			"no interface takes packets: %s", strings.Join(reasons(f.Observed.Interfaces), "; "))
	}
}

func where(i v1.Interface) string {
	if i.Reason == "" {
		return fmt.Sprintf("%s takes packets at %s", i.Name, i.Hook)
	}
	return fmt.Sprintf("%s takes packets at %s: %s", i.Name, i.Hook, i.Reason)
}

func reasons(all []v1.Interface) []string {
	var out []string
	for _, i := range all {
		out = append(out, i.Name+" "+i.Reason)
	}
	return out
}

// withOurs are the names of interfaces that a program of weir is on.
func (f Facts) withOurs() []string {
	var names []string
	for _, i := range f.Interfaces {
		if slices.ContainsFunc(i.Programs, func(p Program) bool { return p.Ours }) {
			names = append(names, i.Name)
		}
	}
	return names
}

// sees tells whether the interface was looked at, with all of its programs.
func (f Facts) sees(name string) bool {
	return len(f.Unseen) == 0 && slices.ContainsFunc(f.Interfaces, func(i Interface) bool { return i.Name == name })
}

// programs names those of others that see packets before weir or instead.
func programs(c *check, f Facts) {
	hooked := f.hooked()
	for _, i := range f.Interfaces {
		if _, used := hooked[i.Name]; !used {
			continue
		}
		for n, p := range i.Programs {
			switch {
			case p.Ours:
			case p.Where == "xdp":
				c.warn("it comes before weir, which takes TC behind it; detach it (ip link set dev "+i.Name+" xdp off) to let weir use XDP",
					"program %d (%s) of somebody else is attached at %s of %s", p.ID, p.Name, p.Where, i.Name)
			case oursIn(i.Programs[n:], p.Where):
				c.warn("give it a filter priority above weir's 2, let it answer TC_ACT_UNSPEC, or leave this interface to it by --blacklist",
					"program %d (%s) of somebody else runs before weir at %s of %s: packets that it takes or answers with TC_ACT_OK never come to weir", p.ID, p.Name, p.Where, i.Name)
			default:
				c.warn("see that it lets packets to service addresses pass, or leave this interface to it by --blacklist",
					"program %d (%s) of somebody else is attached at %s of %s", p.ID, p.Name, p.Where, i.Name)
			}
		}
	}
	if f.Observed != nil && len(f.Unseen) > 0 { // weir may see what we may not
		for _, d := range f.Observed.Conditions {
			if d.Type == v1.ConditionPacketsSeen && !d.Status {
				c.warn("see the message", "%s: %s", d.Reason, d.Message)
			}
		}
	}
	c.otherwise("no program of others is where weir takes packets")
}

// oursIn tells whether one of weir's is among those at a place.
func oursIn(programs []Program, where string) bool {
	return slices.ContainsFunc(programs, func(p Program) bool { return p.Ours && p.Where == where })
}

// offloads knows the traps of offloads: what merges packets for good, and
// what native XDP on veth loses.
func offloads(c *check, f Facts) {
	hooked := f.hooked()
	for _, i := range f.Interfaces {
		h, used := hooked[i.Name]
		if !used {
			continue
		}
		if i.Merges["lro"] {
			c.fail("ethtool -K "+i.Name+" lro off", "%s merges received packets for good (LRO): what is forwarded is too long for the next link", i.Name)
		}
		if gro, known := i.Merges["gro"]; known && !gro && h.Hook == "tc" && i.Kind != "veth" {
			c.warn("ethtool -K "+i.Name+" gro on", "%s does not merge received packets (GRO), so each costs as much as sixty together", i.Name)
		}
		if h.Hook == "xdp" && i.Kind == "veth" {
			c.warn("use --hook=auto; or at the other end of each veth: ethtool -K IFACE gro on, and tx off where packets start",
				"%s is a veth with native XDP: packets to a peer without GRO vanish uncounted, and unfinished checksums go out wrong", i.Name)
		}
	}
	c.otherwise("nothing merges or splits packets in a way that hurts")
}
