package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/api/client"
	v1 "github.com/weir-lb/weir/api/v1"
)

func getSvc(o *options) *cobra.Command {
	return show(o, &cobra.Command{
		Use:     "svc",
		Aliases: []string{"service", "services"},
		Short:   "Kubernetes Services that the controller serves",
		Long: "Kubernetes Services that the controller serves, in the columns of kubectl.\n" +
			"What is wrong with one, or with a manifest, is named on standard error.",
	}, o.controller, controllerStatus, func(cmd *cobra.Command, s v1.ControllerStatus, wide bool) error {
		if err := svcTable(s.Services, wide).write(cmd.OutOrStdout()); err != nil {
			return err
		}
		for _, svc := range s.Services {
			for _, c := range svc.Conditions {
				if !c.Status {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s/%s: %s: %s\n", svc.Namespace, svc.Name, c.Reason, c.Message)
				}
			}
		}
		for _, p := range s.Problems {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s: %s\n", p.Object, p.Reason, p.Message)
		}
		return nil
	})
}

func controllerStatus(ctx context.Context, c *client.Client) (v1.ControllerStatus, error) {
	return c.Controller(ctx)
}

func svcTable(services []v1.ControllerService, wide bool) *plain {
	t := &plain{titles: []string{"NAMESPACE", "NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)"}}
	if wide {
		t.titles = append(t.titles, "MODE", "ENDPOINTS", "POOL", "ACTIVE", "PROGRAMMED", "CLASS")
	}
	for _, s := range services {
		row := []string{s.Namespace, s.Name, s.Type, orNone(s.ClusterIP), external(s.ExternalIPs), strings.Join(s.Ports, ",")}
		if wide {
			row = append(row, orDash(string(s.Mode)), fmt.Sprint(s.Backends), orDash(s.Pool), orDash(s.Active), programmedOf(s), orDash(s.Class))
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// programmedOf is what load balancer nodes say of the service.
func programmedOf(s v1.ControllerService) string {
	for _, c := range s.Conditions {
		if c.Type == v1.ConditionProgrammed {
			return c.StatusText()
		}
	}
	return "-"
}

// external is kubectl's column: pending until there is an address.
func external(ips []netip.Addr) string {
	if len(ips) == 0 {
		return "<pending>"
	}
	texts := make([]string, len(ips))
	for i, ip := range ips {
		texts[i] = ip.String()
	}
	return strings.Join(texts, ",")
}

func orNone(s string) string {
	if s == "" {
		return "<none>"
	}
	return s
}
