package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/topo/dump"
	"github.com/weir-lb/weir/topo/node"
)

// newDumpCommand is weir-topo dump.
func newDumpCommand(g *globalFlags) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "dump [NODE...]",
		Short: "Write the evidence of a topology into a folder",
		Long: `Write what one would look at after a failure into a folder for each node:
addresses, routes, neighbours, counters, rules, sockets, logs, and what weir,
gobgp and bird say. Without NODE it is all nodes.`,
		Example: "  weir-topo dump --to /tmp/evidence\n  weir-topo dump master1 client --to /tmp/evidence",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			t, err := g.open()
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, t.Close()) }()
			nodes := t.Nodes()
			if len(args) > 0 {
				nodes = nil
			}
			for _, name := range args {
				if !t.Has(name) {
					return usageError{fmt.Errorf("%s has no node %q, it has %s", t.Page.Name, name, strings.Join(t.Page.Order, ", "))}
				}
				nodes = append(nodes, t.Node(name))
			}
			if err := dump.Nodes(cmd.Context(), nodes, dir); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "evidence of %s is in %s\n", names(nodes), dir)
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "to", "weir-evidence", "folder to write to")
	return cmd
}

func names(nodes []*node.Node) string {
	all := make([]string, 0, len(nodes))
	for _, n := range nodes {
		all = append(all, n.Name)
	}
	return strings.Join(all, " ")
}
