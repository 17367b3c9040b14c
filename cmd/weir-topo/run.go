package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/topo"
	"github.com/weir-lb/weir/topo/replay"
)

// takeDownTimeout bounds the cleaning up after a replay has ended or failed.
const takeDownTimeout = 30 * time.Second

// newRunCommand is weir-topo run.
func newRunCommand(g *globalFlags) *cobra.Command {
	var o topo.Options
	var takeDown bool
	cmd := &cobra.Command{
		Use:   "run PAGE|FILE",
		Short: "Build a topology and show, step by step, what it does",
		Long: `Build a topology and replay the steps of its page: each runs a command in a
node, waits until its output is what the step expects, and says what that
proves. The topology stays up afterwards, also when a step fails, so that you
can look around; ^C removes it.`,
		Example: `  weir-topo run article
  weir-topo run article --hook xdp --down`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			page, err := topo.Load(args[0])
			if err != nil {
				return err
			}
			if err := checkBinDir(o.BinDir); err != nil {
				return err
			}
			o.Name, o.Root, o.Keep, o.Progress = g.name, g.root, true, cmd.OutOrStdout()
			began := time.Now()
			t, err := topo.Up(cmd.Context(), page, o)
			if err != nil {
				return err
			}
			err = replay.Run(cmd.Context(), t, cmd.OutOrStdout())
			if takeDown || cmd.Context().Err() != nil {
				return errors.Join(err, removeAfter(cmd.Context(), t))
			}
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "\nAll %d steps came true in %.1f s.\n", len(page.Steps), time.Since(began).Seconds())
			}
			sayNext(cmd, t)
			return errors.Join(err, t.Close())
		},
	}
	cmd.Flags().StringVar(&o.Hook, "hook", "", "hook of the load balancers: auto, xdp or tc (default: the page's)")
	cmd.Flags().StringVar(&o.BinDir, "bin", binDir(), "folder of weir's programs")
	cmd.Flags().BoolVar(&takeDown, "down", false, "take the topology down afterwards")
	return cmd
}

// removeAfter takes t down although ctx may have ended.
func removeAfter(ctx context.Context, t *topo.Topology) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeDownTimeout)
	defer cancel()
	return t.Down(ctx)
}
