package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/api/client"
	v1 "github.com/weir-lb/weir/api/v1"
)

func getLB(o *options) *cobra.Command {
	return show(o, &cobra.Command{
		Use:     "lb",
		Aliases: []string{"lbs", "loadbalancer"},
		Short:   "Services that the node balances",
		Long: "Services that the node balances. Those that it was asked for and did not\n" +
			"program are named on standard error, each with the reason.",
	}, o.node, func(ctx context.Context, c *client.Client) ([]v1.ServiceStatus, error) {
		return c.Services(ctx)
	}, printLB)
}

func printLB(cmd *cobra.Command, services []v1.ServiceStatus, wide bool) error {
	t := lbTable(services)
	if wide {
		t = lbWide(services)
	}
	if err := t.write(cmd.OutOrStdout()); err != nil {
		return err
	}
	for _, s := range services {
		for _, c := range s.Conditions {
			if !c.Status {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s %s%s: %s\n", s.Frontend, s.Name, unprogrammed(s), c.Message)
			}
		}
	}
	return nil
}

func unprogrammed(s v1.ServiceStatus) string {
	if s.Programmed {
		return ""
	}
	return " is not programmed"
}

// lbTable is the article's table, to the space.
func lbTable(services []v1.ServiceStatus) *table {
	t := &table{columns: []column{
		{title: "EXTERNAL IP"}, {title: "PORT"}, {title: "PROTOCOL"}, {title: "BLOCK", right: true}, {title: "SELECT"},
		{title: "MODE", flush: true}, {title: "# OF ENDPOINTS", right: true, bare: true}, {title: "MONITOR"},
	}}
	for _, s := range services {
		if s.Programmed {
			t.add(s.VIP.String(), number(s.Port), string(s.Protocol), number(s.Block), algorithm(s.Service),
				string(s.Mode), strconv.Itoa(len(s.Backends)), onOff(s.Monitor))
		}
	}
	return t
}

// lbWide has a row for each endpoint; the first names the service.
func lbWide(services []v1.ServiceStatus) *table {
	t := &table{columns: []column{
		{title: "EXTERNAL IP"}, {title: "PORT"}, {title: "PROTOCOL"}, {title: "NAME"}, {title: "BLOCK", right: true},
		{title: "SELECT"}, {title: "MODE"}, {title: "TIMEOUT", right: true}, {title: "MONITOR"}, {title: "SOURCES"}, {title: "ENDPOINT"}, {title: "EPORT"},
		{title: "WEIGHT", right: true}, {title: "STATE"},
		{title: "FLOWS", right: true}, {title: "PACKETS", right: true}, {title: "BYTES", right: true},
	}}
	for _, s := range services {
		if !s.Programmed {
			continue
		}
		head := []string{s.VIP.String(), number(s.Port), string(s.Protocol), s.Name, number(s.Block),
			algorithm(s.Service), string(s.Mode), idleTimeout(s.Service), onOff(s.Monitor), sources(s.Service)}
		if len(s.BackendStates) == 0 {
			t.add(append(head, "-", "-", "-", "-", "-", "-", "-")...)
		}
		for _, b := range s.BackendStates {
			t.add(append(head, b.Address.String(), number(b.Port), number(max(b.Weight, 1)), b.State,
				number(b.Flows), number(b.Packets), number(b.Bytes))...)
			head = make([]string, len(head))
		}
	}
	return t
}

// sources is "-" where all clients may come.
func sources(s v1.Service) string {
	if len(s.Sources) == 0 {
		return "-"
	}
	texts := make([]string, len(s.Sources))
	for i, p := range s.Sources {
		texts[i] = p.String()
	}
	return strings.Join(texts, ",")
}

// algorithm is LoxiLB's word for it: persist where clients keep their backend.
func algorithm(s v1.Service) string {
	if s.Affinity > 0 {
		return "persist"
	}
	if s.Algorithm == "" {
		return string(v1.RoundRobin)
	}
	return string(s.Algorithm)
}

// idleTimeout is "-" where the service leaves it to the protocol.
func idleTimeout(s v1.Service) string {
	if s.IdleTimeout == 0 {
		return "-"
	}
	return number(s.IdleTimeout)
}

func onOff(on bool) string {
	if on {
		return "On"
	}
	return "Off"
}

func number[T uint16 | uint32 | uint64](n T) string { return strconv.FormatUint(uint64(n), 10) }
