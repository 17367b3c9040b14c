package decide

import (
	"fmt"
	"slices"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Events tells what changed between two decisions, services before nodes. The
// times are left zero: a pure function knows none. The zero Decision stands
// for "nothing yet".
func Events(before, after Decision) []v1.Event {
	var events []v1.Event
	old := make(map[string]v1.ControllerService, len(before.Services))
	for _, s := range before.Services {
		old[serviceName(s)] = s
	}
	for _, s := range after.Services {
		if text, ok := after.Moved[s.Namespace+"/"+s.Name]; ok {
			events = append(events, v1.Event{Object: serviceName(s), Type: v1.EventWarning, Reason: ReasonAddressMoved, Message: shorten(oneLine(text), maxMessage)})
		}
		events = append(events, conditionEvents(old[serviceName(s)], s)...)
		delete(old, serviceName(s))
	}
	for _, s := range before.Services {
		if _, gone := old[serviceName(s)]; gone {
			events = append(events, v1.Event{
				Object: serviceName(s), Type: v1.EventNormal, Reason: "Removed", Message: "the service is gone; what it held is free",
			})
		}
	}
	for _, name := range after.Zoned {
		if !slices.Contains(before.Zoned, name) {
			events = append(events, v1.Event{
				Object: "node/" + name, Type: v1.EventNormal, Reason: "LabelIgnored",
				Message: "without effect here: the label " + LabelZone + " (remove it; all load balancer nodes serve all Services)",
			})
		}
	}
	return append(events, nodeEvents(before.Nodes, after.Nodes)...)
}

func serviceName(s v1.ControllerService) string { return "service/" + s.Namespace + "/" + s.Name }

// conditionEvents has one event a condition that turned, or that says
// something else.
func conditionEvents(before, after v1.ControllerService) []v1.Event {
	var events []v1.Event
	for _, c := range after.Conditions {
		if slices.Contains(before.Conditions, c) || c.Unknown {
			continue
		}
		// That all is as it should be is news after a fault.
		if c.Status && (c.Reason == ReasonValid || c.Reason == ReasonProgrammed) && !failedBefore(before, c.Type) {
			continue
		}
		kind := v1.EventNormal
		if !c.Status {
			kind = v1.EventWarning
		}
		// These say again what other conditions do.
		if c.Reason == ReasonNotAccepted || c.Reason == ReasonReserved {
			continue
		}
		events = append(events, v1.Event{Object: serviceName(after), Type: kind, Reason: c.Reason, Message: c.Message})
	}
	return events
}

// failedBefore says that a condition did not hold.
func failedBefore(s v1.ControllerService, kind string) bool {
	return slices.ContainsFunc(s.Conditions, func(c v1.Condition) bool { return c.Type == kind && !c.Status && !c.Unknown })
}

func nodeEvents(before, after []Node) []v1.Event {
	var events []v1.Event
	add := func(n Node, reason, format string, args ...any) {
		events = append(events, v1.Event{
			Object: "node/" + n.Name, Type: v1.EventNormal, Reason: reason, Message: fmt.Sprintf(format, args...),
		})
	}
	find := func(nodes []Node, n Node) (Node, bool) {
		i := slices.IndexFunc(nodes, func(o Node) bool { return o.Address == n.Address })
		if i < 0 {
			return Node{}, false
		}
		return nodes[i], true
	}
	for _, n := range after {
		old, known := find(before, n)
		if !known {
			add(n, "Joined", "%s runs weir as %s", n.Address, n.Role)
		}
		switch {
		case n.Active && !old.Active:
			add(n, "Active", "%s is active for at least one address", n.Address)
		case known && old.Active && !n.Active:
			add(n, "Standby", "%s is active for no address", n.Address)
		}
	}
	for _, n := range before {
		if _, known := find(after, n); !known {
			add(n, "Left", "%s no longer runs weir", n.Address)
		}
	}
	return events
}
