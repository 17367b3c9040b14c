package hook

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	v1 "github.com/weir-lb/weir/api/v1"
)

// ReasonForeignProgram is of v1.ConditionPacketsSeen: programs of others run
// before weir's; the message says how to let weir see their packets.
const ReasonForeignProgram = "ForeignProgram"

// Conditions names the TC programs of others that run before ours: what they
// answer with TC_ACT_OK, as most do, never comes to ours, and no counter tells.
// It asks the kernel each time, because filters come and go without an event
// that Run follows. None while ours are first.
func (h *Hooks) Conditions() []v1.Condition {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []string
	for index, have := range h.hooked {
		for _, at := range []struct {
			side
			used bool
			p    *ebpf.Program
		}{
			{ingress, have.attachment.tc != nil, h.options.TC},
			{egress, have.attachment.egress != nil, h.options.Egress},
		} {
			if !at.used {
				continue
			}
			for _, name := range at.before(index, at.p) {
				found = append(found, fmt.Sprintf("%s at tc %s of %s", name, at.name, have.status.Name))
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	slices.Sort(found) // the map has no order
	return []v1.Condition{{
		Type: v1.ConditionPacketsSeen, Reason: ReasonForeignProgram,
		Message: "before weir runs " + strings.Join(found, ", ") + ": packets that it takes or answers with TC_ACT_OK never come to weir; " +
			"give it a filter priority above " + fmt.Sprint(filterPriority) + ", let it answer TC_ACT_UNSPEC, or leave the interface to it by --blacklist",
	}}
}

// before names the programs that run before p at this side, first one first:
// TCX links run before filters, filters by priority. Where p is not found, or the
// kernel does not tell, there are none.
func (s side) before(index int, p *ebpf.Program) []string {
	info, err := p.Info()
	if err != nil {
		return nil
	}
	ours, _ := info.ID()
	var names []string
	for _, one := range s.running(index) {
		if one.id == ours {
			return names
		}
		names = append(names, fmt.Sprintf("program %d (%s)", one.id, one.name()))
	}
	return nil
}

// running is a TC program at work.
type running struct {
	id ebpf.ProgramID
	// filter is the name of its filter, empty for a TCX link.
	filter string
}

// name is the filter's, else the program's.
func (r running) name() string {
	if r.filter != "" {
		return r.filter
	}
	p, err := ebpf.NewProgramFromID(r.id)
	if err != nil {
		return "unnamed"
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil || info.Name == "" {
		return "unnamed"
	}
	return info.Name
}

// running lists the programs of a side in the order in which they run.
func (s side) running(index int) []running {
	var all []running
	// An error is a kernel without TCX, or an interface that went.
	if result, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: s.attach}); err == nil {
		for _, one := range result.Programs {
			all = append(all, running{id: one.ID})
		}
	}
	filters, err := filtersAt(index, s.parent)
	if err != nil {
		return all
	}
	for _, f := range filters {
		if b, ok := f.(*netlink.BpfFilter); ok {
			all = append(all, running{ebpf.ProgramID(b.Id), b.Name})
		}
	}
	return all
}
