package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/api/client"
)

// drainTimeout bounds a drain: the node waits 20 s for flows that stay, and
// needs some more to end.
const drainTimeout = 45 * time.Second

// gonePoll is how often a node that ends is asked whether it is still there.
const gonePoll = 50 * time.Millisecond

func newDrain(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "drain",
		Short: "Stop weir for good, without losing new connections",
		Long: `Stop weir for good: withdraw all service addresses, wait until the peers send
their packets elsewhere, detach the programs and leave nothing on the node, then
end. Connections that stand end with it unless another node knows them.

SIGTERM and SIGINT do the same on a node that kube-weir has told that it is
drained (kubectl drain, kubectl cordon; "weirctl get nodes" shows it). Whatever else
ends weir (SIGTERM elsewhere, SIGKILL, a crash) means a restart: packets are
forwarded meanwhile. What a weir left that will not come back,
"weir --cleanup" removes.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.node()
			if err != nil {
				return err
			}
			defer c.Close()
			ctx, cancel := context.WithTimeout(cmd.Context(), max(o.timeout, drainTimeout))
			defer cancel()
			if err := c.Drain(ctx); err != nil {
				return err
			}
			if err := untilGone(ctx, c); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "drained")
			return err
		},
	}
}

// untilGone waits until the program does not answer any more.
func untilGone(ctx context.Context, c *client.Client) error {
	poll := time.NewTicker(gonePoll)
	defer poll.Stop()
	for c.Healthy(ctx) == nil {
		select {
		case <-ctx.Done():
			return errors.New("wait for weir's end: it is drained, and still runs; see its log")
		case <-poll.C:
		}
	}
	return nil
}
