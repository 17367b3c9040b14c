package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/api/client"
	v1 "github.com/weir-lb/weir/api/v1"
)

func getDrops(o *options) *cobra.Command {
	return show(o, &cobra.Command{
		Use:     "drops",
		Aliases: []string{"counters"},
		Short:   "Packets by what became of them, drops by reason",
		Long: "Packets by what became of them, drops by reason. Every packet that came in is\n" +
			"forwarded, passed to the kernel or dropped under one reason; the last line\n" +
			"says so, and how full the table of established flows is: a new flow that finds\n" +
			"no room is dropped as flows_full. \"answered\" says how many of the dropped ones\n" +
			"were answered, by RST, ABORT or an ICMP error. Reasons that never occurred are\n" +
			"shown with -o wide.",
	}, o.node, func(ctx context.Context, c *client.Client) (v1.Counters, error) {
		return c.Counters(ctx)
	}, func(cmd *cobra.Command, counters v1.Counters, wide bool) error {
		if err := dropsTable(counters, wide).write(cmd.OutOrStdout()); err != nil {
			return err
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), audit(counters)+fill(counters.FlowTable))
		return err
	})
}

func dropsTable(c v1.Counters, wide bool) *table {
	t := &table{columns: []column{{title: "ACTION"}, {title: "REASON"}, {title: "PACKETS", right: true}}}
	t.add("in", "", number(c.In))
	t.add("forwarded", "", number(c.Forwarded))
	t.add("passed", "", number(c.Passed))
	for _, d := range c.Drops {
		if wide || d.Count > 0 {
			t.add("dropped", d.Reason, number(d.Count))
		}
	}
	if wide || c.Answered > 0 {
		t.add("answered", "", number(c.Answered))
	}
	return t
}

// fill tells how near drops as flows_full are, on a line of its own.
func fill(t *v1.FlowTable) string {
	if t == nil || t.Capacity == 0 {
		return ""
	}
	return fmt.Sprintf("\nflow table: %d of %d entries in use (%d %%)", t.Entries, t.Capacity, uint64(t.Entries)*100/uint64(t.Capacity))
}

// audit checks that no packet is lost without a reason. Counters of a node at
// work are read one after the other, so a small difference is traffic.
func audit(c v1.Counters) string {
	var dropped uint64
	for _, d := range c.Drops {
		dropped += d.Count
	}
	out := c.Forwarded + c.Passed + dropped
	line := fmt.Sprintf("in %d = forwarded %d + passed %d + dropped %d", c.In, c.Forwarded, c.Passed, dropped)
	switch {
	case out > c.In:
		return fmt.Sprintf("%s: differs by %d, counted while packets came", line, out-c.In)
	case out < c.In:
		return fmt.Sprintf("%s: differs by %d, under way or unaccounted", line, c.In-out)
	}
	return line
}
