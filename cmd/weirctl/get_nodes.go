package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	v1 "github.com/weir-lb/weir/api/v1"
)

func getNodes(o *options) *cobra.Command {
	return show(o, &cobra.Command{
		Use:     "nodes",
		Aliases: []string{"node"},
		Short:   "Nodes that the controller drives, and how far they are",
	}, o.controller, controllerStatus, func(cmd *cobra.Command, s v1.ControllerStatus, wide bool) error {
		return nodesTable(s.Nodes, wide).write(cmd.OutOrStdout())
	})
}

func nodesTable(nodes []v1.ControllerNode, wide bool) *plain {
	t := &plain{titles: []string{"NAME", "ADDRESS", "ROLE", "ACTIVE", "DRAINED", "STATE", "DESIRED", "PUSHED", "ATTEMPTS", "LAST ERROR"}}
	if wide {
		t.titles = append(t.titles, "SERVICES", "LAST PUSH", "NEXT RETRY")
	}
	for _, n := range nodes {
		row := []string{n.Name, n.Address.String(), n.Role, yesNo(n.Active), yesNo(n.Drained), n.State,
			n.Desired.String(), n.Pushed.String(), fmt.Sprint(n.Attempts), orDash(n.LastError)}
		if wide {
			row = append(row, fmt.Sprint(n.Services), stamped(n.LastPush), stamped(n.NextRetry))
		}
		t.rows = append(t.rows, row)
	}
	return t
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// stamped prints a time to the second in UTC, so that output from two machines
// compares.
func stamped(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
