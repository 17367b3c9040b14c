package metrics

import (
	"context"
	"net/netip"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	v1 "github.com/weir-lb/weir/api/v1"
)

// collector reads the node once a scrape.
type collector struct{ node Source }

// Describe lists what Collect may send.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		buildInfo, packets, drops, answers, services, flows, backends, backendUp, flowEntries, flowCapacity, peerUp, routes, advertisements, ownerLag, hooks, problems,
	} {
		ch <- d
	}
}

// Collect sends all metrics of this moment. What cannot be read is missing,
// and a problem of its own.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	o := c.node.Observed(ctx)
	to := sink{ch}
	to.build(c.node.Version())
	if counters, err := c.node.Counters(ctx); err == nil {
		to.counters(counters)
	} else {
		o.Conditions = append(slices.Clone(o.Conditions), v1.Condition{Type: v1.ConditionReachable, Reason: "Unreadable"})
	}
	to.services(o.Services)
	to.bgp(o.BGP)
	to.node(o)
}

// sink turns parts of a node into metrics.
type sink struct{ ch chan<- prometheus.Metric }

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sink) counter(d *prometheus.Desc, v uint64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (s sink) build(v v1.Version) { s.gauge(buildInfo, 1, v.Version, v.Go, v.Mode) }

func (s sink) counters(c v1.Counters) {
	var dropped uint64
	reasons := map[string]uint64{}
	for _, d := range c.Drops {
		reasons[d.Reason] += d.Count
		dropped += d.Count
	}
	for reason, n := range reasons {
		s.counter(drops, n, reason)
	}
	s.counter(packets, c.Forwarded, "forwarded")
	s.counter(packets, c.Passed, "passed")
	s.counter(packets, dropped, "dropped")
	s.counter(answers, c.Answered)
}

func (s sink) services(all []v1.ServiceStatus) {
	states := map[string]int{"programmed": 0, "pending": 0, "refused": 0}
	// A frontend that is refused may occur several times.
	seen := map[v1.Frontend]bool{}
	for _, svc := range all {
		state := stateOf(svc)
		states[state]++
		if state == "refused" || seen[svc.Frontend] {
			continue
		}
		seen[svc.Frontend] = true
		s.service(svc)
	}
	for state, n := range states {
		s.gauge(services, float64(n), state)
	}
}

func stateOf(svc v1.ServiceStatus) string {
	switch {
	case svc.Programmed:
		return "programmed"
	case slices.ContainsFunc(svc.Conditions, func(c v1.Condition) bool { return c.Type == v1.ConditionAccepted && !c.Status }):
		return "refused"
	}
	return "pending"
}

func (s sink) service(svc v1.ServiceStatus) {
	frontend := svc.Frontend.String()
	// All states are there from the start, so that an alarm sees a 0.
	states := map[string]int{v1.BackendActive: 0, v1.BackendInactive: 0, v1.BackendUnreachable: 0, v1.BackendUnserved: 0}
	var entries uint64
	for _, b := range svc.BackendStates {
		states[b.State]++
		entries += b.Flows
		if svc.Monitor {
			up := 0.0
			if b.State == v1.BackendActive {
				up = 1
			}
			s.gauge(backendUp, up, svc.Name, frontend, netip.AddrPortFrom(b.Address, b.Port).String())
		}
	}
	for state, n := range states {
		s.gauge(backends, float64(n), svc.Name, frontend, state)
	}
	s.gauge(flows, float64(entries), svc.Name, frontend)
}

func (s sink) bgp(b *v1.BGPStatus) {
	if b == nil {
		return
	}
	seen := map[string]bool{}
	for _, p := range b.Peers {
		if seen[p.Address.String()] {
			continue
		}
		seen[p.Address.String()] = true
		up := 0.0
		if p.State == "established" {
			up = 1
		}
		s.gauge(peerUp, up, p.Address.String(), strconv.FormatUint(uint64(p.ASN), 10), string(p.Role))
	}
	s.gauge(routes, float64(len(b.Routes)))
	s.gauge(advertisements, float64(len(b.Advertisements)))
}

func (s sink) node(o v1.ObservedState) {
	for _, owner := range o.Owners {
		s.gauge(ownerLag, float64(lagOf(owner)), owner.Owner)
	}
	if o.FlowTable != nil {
		s.gauge(flowEntries, float64(o.FlowTable.Entries))
		s.gauge(flowCapacity, float64(o.FlowTable.Capacity))
	}
	names := map[string]bool{}
	for _, i := range o.Interfaces {
		if !names[i.Name] {
			names[i.Name] = true
			s.gauge(hooks, 1, i.Name, i.Hook)
		}
	}
	type kind struct{ typ, reason string }
	wrong := map[kind]int{}
	for _, c := range o.Conditions {
		if !c.Status {
			wrong[kind{c.Type, c.Reason}]++
		}
	}
	for k, n := range wrong {
		s.gauge(problems, float64(n), k.typ, k.reason)
	}
}

// lagOf counts the generations from the applied to the desired one, those of
// the newer epoch where the epoch differs.
func lagOf(o v1.OwnerStatus) uint64 {
	switch {
	case o.Applied == o.Desired:
		return 0
	case o.Applied.Epoch == o.Desired.Epoch && o.Desired.Sequence > o.Applied.Sequence:
		return o.Desired.Sequence - o.Applied.Sequence
	}
	return max(1, o.Desired.Sequence)
}
