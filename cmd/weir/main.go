// Command weir is a load balancer node, or with --peer a BGP speaker only.
// SIGTERM, SIGINT, SIGKILL and a crash all mean a restart: packets are forwarded
// meanwhile (--pin-dir), and peers keep their routes. `weirctl drain` stops it, and so
// do SIGTERM and SIGINT where the node's state says that it is drained.
// Exit codes: 0 after SIGTERM, SIGINT or a drain, 1 when it cannot start or a part of
// it failed, 2 for wrong flags.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/cmd/internal/version"
	"github.com/weir-lb/weir/dataplane"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// errUsage marks errors that --help answers.
var errUsage = errors.New("see weir --help")

func run(args []string, stdout, stderr io.Writer) int {
	cmd := newCommand(stderr)
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.Execute()
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintln(stderr, "weir:", err)
		return 2
	}
	fmt.Fprintln(stderr, "weir:", err)
	return 1
}

func newCommand(stderr io.Writer) *cobra.Command {
	var c config
	cmd := &cobra.Command{
		Use:   "weir",
		Short: "Service load balancer node: eBPF forwards, BGP announces",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.NoArgs(cmd, args); err != nil {
				return fmt.Errorf("%w; %w", err, errUsage)
			}
			return nil
		},
		Version:       version.String(),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.complete(); err != nil {
				return fmt.Errorf("%w; %w", err, errUsage)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, os.Interrupt)
			defer stop()
			// After the first signal the next one kills, as usual.
			context.AfterFunc(ctx, stop)
			log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: c.level}))
			switch {
			case c.cleanup:
				err := cleanup(c, log)
				if err == nil && c.stay {
					<-ctx.Done()
				}
				return err
			case c.prepare:
				return dataplane.Prepare(c.pinDir)
			}
			return serve(ctx, c, log)
		},
	}
	cmd.SetContext(context.Background())
	cmd.SetVersionTemplate("weir {{.Version}}\n")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return fmt.Errorf("%w; %w", err, errUsage)
	})
	c.flags(cmd.Flags())
	return cmd
}
