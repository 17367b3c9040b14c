package main

import (
	"context"
	"strconv"

	"github.com/weir-lb/weir/bench/lab"
	"github.com/weir-lb/weir/bench/result"
	"github.com/weir-lb/weir/bench/rounds"
	"github.com/weir-lb/weir/bench/testrun"
)

// section is a table and how its rows are measured.
type section struct {
	result.Section
	cases []rounds.Case
	// chain says that it needs generator and sink in its labs.
	chain bool
}

// sections lists everything that can be measured, in the order in which it is.
func (s *session) sections() []section {
	return []section{
		{
			Section: result.Section{Name: testrun.Section, Title: "weir's programs alone: net of the wrapper, by number of flows", Unit: "ns/packet", Compare: result.Multiple},
			cases:   testrun.Cases(func() *testrun.Bench { return s.alone }, s.calls),
		},
		{
			Section: result.Section{Name: "connections", Title: "New TCP connections, a request each, 32 at a time", Unit: "1/s", Compare: result.Share},
			cases:   s.endToEnd("32", s.seconds.Connections, lab.Routing, lab.WeirTC, lab.WeirXDP, lab.Nftables, lab.NftablesMany, lab.Iptables, lab.IptablesMany, lab.HAProxy),
		},
		{
			Section: result.Section{Name: "requests", Title: "Requests over one connection", Unit: "1/s", Compare: result.Share},
			cases:   s.endToEnd("1", s.seconds.Requests, lab.Routing, lab.WeirTC, lab.WeirXDP, lab.Nftables, lab.Iptables, lab.HAProxy),
		},
		{
			Section: result.Section{Name: "bulk", Title: "Bulk TCP, one connection", Unit: "Gbit/s", Compare: result.Share},
			cases:   s.endToEnd("1", s.seconds.Bulk, lab.Routing, lab.WeirTC, lab.WeirXDP, lab.Nftables, lab.HAProxy),
		},
		{
			Section: result.Section{Name: "chain", Title: "Forwarding 60-byte datagrams of established flows, the whole chain, by number of flows", Unit: "ns/packet", Compare: result.Difference},
			cases:   s.steady(), chain: true,
		},
		{
			Section: result.Section{Name: "new-flow", Title: "First packets of flows, the whole chain", Unit: "ns/packet", Compare: result.Multiple},
			cases:   s.cold(), chain: true,
		},
	}
}

// endToEnd compares balancers with routing.
func (s *session) endToEnd(variant string, measure func(context.Context, *lab.Lab) (result.Sample, error), balancers ...lab.Balancer) []rounds.Case {
	var cases []rounds.Case
	for _, b := range balancers {
		c := rounds.Case{Subject: b.Name, Variant: variant, Measure: func(ctx context.Context) (result.Sample, error) {
			return measure(ctx, s.labs[b.Name])
		}}
		if b.Name != lab.Routing.Name {
			c.Baseline = lab.Routing.Name
		}
		cases = append(cases, c)
	}
	return cases
}

// over says what a balancer is compared with in the chain: the least that its way
// through the kernel can cost.
var over = map[string]string{
	lab.WeirXDP.Name: lab.RedirectXDP.Name, lab.LineXDP.Name: lab.RedirectXDP.Name, lab.LookupXDP.Name: lab.RedirectXDP.Name,
	lab.WeirTC.Name: lab.RedirectTC.Name, lab.Routing.Name: lab.RedirectTC.Name,
	lab.Nftables.Name: lab.Routing.Name, lab.NftablesMany.Name: lab.Routing.Name,
	lab.Iptables.Name: lab.Routing.Name, lab.IptablesMany.Name: lab.Routing.Name,
}

// steady has a line of the table for each balancer, and measures those next to each other that are compared: what the
// neighbours of a virtual machine leave of its caches changes within seconds.
func (s *session) steady() []rounds.Case {
	var cases []rounds.Case
	for _, flows := range []int{1, 1000, 30_000} {
		for _, b := range []lab.Balancer{
			lab.RedirectXDP, lab.LineXDP, lab.LookupXDP, lab.WeirXDP, lab.RedirectTC, lab.WeirTC, lab.Routing,
			lab.Nftables, lab.NftablesMany, lab.Iptables, lab.IptablesMany,
		} {
			cases = append(cases, rounds.Case{
				Subject: b.Name, Variant: strconv.Itoa(flows), Baseline: over[b.Name],
				Measure: func(ctx context.Context) (result.Sample, error) {
					return s.chains[b.Name].Steady(ctx, flows, s.packets)
				},
			})
		}
	}
	return cases
}

func (s *session) cold() []rounds.Case {
	var cases []rounds.Case
	for _, b := range []lab.Balancer{
		lab.Routing, lab.WeirXDP, lab.WeirXDPMany, lab.WeirTC, lab.Nftables, lab.NftablesMany, lab.Iptables, lab.IptablesMany,
	} {
		c := rounds.Case{Subject: b.Name, Variant: strconv.Itoa(coldFlows), Measure: func(ctx context.Context) (result.Sample, error) {
			return s.chains[b.Name].Cold(ctx, coldFlows)
		}}
		if b.Name != lab.Routing.Name {
			c.Baseline = lab.Routing.Name
		}
		cases = append(cases, c)
	}
	return cases
}
