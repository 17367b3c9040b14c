package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/topo"
)

// newDownCommand is weir-topo down.
func newDownCommand(g *globalFlags) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "down [NAME]",
		Short: "Remove a topology: processes, namespaces, files",
		Long: `Remove a topology and all that is in it, and what crashes have left of others.
Without NAME it is the only one that is up. A topology that a living program
owns, such as a test's, is left to that program.`,
		Example: "  weir-topo down\n  weir-topo down k3f9\n  weir-topo down --all",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := topo.Sweep(cmd.Context(), g.root); err != nil {
				return err
			}
			if all {
				return downAll(cmd, g)
			}
			id := g.name
			if len(args) == 1 {
				id = args[0]
			}
			id, err := g.pick(id)
			if err != nil {
				return err
			}
			return down(cmd, g, id)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "remove all that no living program owns")
	return cmd
}

func down(cmd *cobra.Command, g *globalFlags, id string) error {
	if err := topo.Remove(cmd.Context(), g.root, id); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s is down\n", id)
	return nil
}

func downAll(cmd *cobra.Command, g *globalFlags) error {
	list, err := topo.List(g.root)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range list {
		if s.State == topo.StateOwned {
			fmt.Fprintf(cmd.OutOrStdout(), "%s stays: process %d owns it\n", s.ID, s.PID)
			continue
		}
		errs = append(errs, down(cmd, g, s.ID))
	}
	return errors.Join(errs...)
}
