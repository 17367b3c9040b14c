package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/topo"
	"github.com/weir-lb/weir/topo/catalog"
)

// newListCommand is weir-topo list.
func newListCommand(g *globalFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "Show the catalog and the topologies that are up",
		Example: "  weir-topo list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "PAGE\tTITLE")
			for _, name := range catalog.Names() {
				p, err := topo.Load(name)
				if err != nil {
					return err
				}
				fmt.Fprintf(w, "%s\t%s\n", name, p.Title)
			}
			up, err := topo.List(g.root)
			if err != nil {
				return err
			}
			fmt.Fprintln(w, "\nUP\tPAGE\tSTATE\tAGE\tFOLDER")
			for _, s := range up {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.ID, s.Page, s.State, time.Since(s.Created).Round(time.Second), s.Dir)
			}
			return w.Flush()
		},
	}
}
