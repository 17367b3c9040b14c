package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/api/client"
	v1 "github.com/weir-lb/weir/api/v1"
)

func getEP(o *options) *cobra.Command {
	return show(o, &cobra.Command{
		Use:     "ep",
		Aliases: []string{"endpoint", "endpoints"},
		Short:   "Endpoints behind the node's services",
	}, o.node, func(ctx context.Context, c *client.Client) ([]v1.ServiceBackend, error) {
		return c.Backends(ctx)
	}, func(cmd *cobra.Command, backends []v1.ServiceBackend, wide bool) error {
		return epTable(backends, wide).write(cmd.OutOrStdout())
	})
}

func epTable(backends []v1.ServiceBackend, wide bool) *table {
	t := &table{columns: []column{
		{title: "HOST"}, {title: "PORT"}, {title: "SERVICE"}, {title: "NAME"}, {title: "WEIGHT", right: true},
		{title: "PTYPE"}, {title: "STATE"}, {title: "FLOWS", right: true},
	}}
	if wide {
		t.columns = append(t.columns, column{title: "PACKETS", right: true}, column{title: "BYTES", right: true},
			column{title: "DELAY", right: true}, column{title: "SINCE"}, column{title: "LAST PROBE"}, column{title: "LAST ERROR"})
	}
	for _, b := range backends {
		row := []string{b.Address.String(), number(b.Port), b.Frontend.String(), b.Service, number(max(b.Weight, 1)),
			probeType(b), b.State, number(b.Flows)}
		if wide {
			p := b.Probe
			if p == nil {
				p = &v1.Probe{}
			}
			row = append(row, number(b.Packets), number(b.Bytes), delay(p.Latency), stamped(p.Since), stamped(p.Last), orDash(p.Error))
		}
		t.add(row...)
	}
	return t
}

// probeType is the kind of the last probe, "none" where there is none.
func probeType(b v1.ServiceBackend) string {
	if b.Probe == nil {
		return "none"
	}
	return b.Probe.Type
}

// delay is how long an answer took; to a datagram there may be none.
func delay(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return d.Round(10 * time.Microsecond).String()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
