package main

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/api/client"
	v1 "github.com/weir-lb/weir/api/v1"
)

func getCT(o *options) *cobra.Command {
	return show(o, &cobra.Command{
		Use:     "ct",
		Aliases: []string{"conntrack", "flows"},
		Short:   "Flows: both directions of every connection",
	}, o.node, func(ctx context.Context, c *client.Client) ([]v1.Flow, error) {
		return c.Flows(ctx)
	}, func(cmd *cobra.Command, flows []v1.Flow, wide bool) error {
		return ctTable(flows, wide).write(cmd.OutOrStdout())
	})
}

// ctTable orders flows so that a connection's reply follows its forward
// direction.
func ctTable(flows []v1.Flow, wide bool) *table {
	t := &table{columns: []column{
		{title: "SERVICE NAME"}, {title: "DESTIP"}, {title: "SRCIP"}, {title: "DPORT"}, {title: "SPORT"}, {title: "PROTO"},
		{title: "STATE"}, {title: "ACT"}, {title: "PACKETS", right: true}, {title: "BYTES", right: true},
	}}
	if wide {
		t.columns = append(t.columns, column{title: "DIRECTION"}, column{title: "IDLE", right: true})
	}
	flows = slices.Clone(flows)
	slices.SortFunc(flows, func(a, b v1.Flow) int {
		ka, kb := connectionOf(a), connectionOf(b)
		return cmp.Or(
			cmp.Compare(ka.Protocol, kb.Protocol), ka.Destination.Compare(kb.Destination), ka.Source.Compare(kb.Source),
			cmp.Compare(a.Direction, b.Direction))
	})
	for _, f := range flows {
		row := []string{orDash(f.Service), f.Destination.Addr().String(), f.Source.Addr().String(),
			number(f.Destination.Port()), number(f.Source.Port()), string(f.Protocol), f.State,
			f.NewSource.String() + "->" + f.NewDestination.String(), number(f.Packets), number(f.Bytes)}
		if wide {
			row = append(row, f.Direction, f.IdleTime.Round(time.Millisecond).String())
		}
		t.add(row...)
	}
	return t
}

// connectionOf returns the forward direction of f as the client sends it: the
// reply goes out as its mirror image.
func connectionOf(f v1.Flow) v1.Flow {
	if f.Direction != "reply" {
		return f
	}
	return v1.Flow{Protocol: f.Protocol, Source: f.NewDestination, Destination: f.NewSource}
}
