// Command kube-weir is the controller: it gives addresses to services and
// tells every weir what to serve, whom to peer with and which rank to take.
// Exit codes: 0 after SIGTERM or SIGINT, 1 when what it was told cannot be or
// a part of it failed, 2 for flags that do not exist or cannot be read.
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
	"github.com/spf13/pflag"

	"github.com/weir-lb/weir/cmd/internal/version"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

// errUsage marks errors that --help answers.
var errUsage = errors.New("see kube-weir --help")

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cmd := newCommand(stderr)
	cmd.SetContext(ctx)
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.Execute()
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "kube-weir:", err)
	if errors.Is(err, errUsage) {
		return 2
	}
	return 1
}

func newCommand(stderr io.Writer) *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "kube-weir",
		Short: "Controller of weir: addresses, states, roles and the BGP mesh",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.NoArgs(cmd, args); err != nil {
				return fmt.Errorf("unexpected %q; values follow their flag after =; %w", args[0], errUsage)
			}
			return nil
		},
		Version:       version.String(),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.complete()
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, os.Interrupt)
			defer stop()
			// After the first signal the next one kills, as usual.
			context.AfterFunc(ctx, stop)
			log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: c.level}))
			return serve(ctx, c, log)
		},
	}
	cmd.SetVersionTemplate("kube-weir {{.Version}}\n")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		if unknown := (*pflag.NotExistError)(nil); errors.As(err, &unknown) {
			if advice := unserved[unknown.GetSpecifiedName()]; advice != "" {
				return fmt.Errorf("read --%s: not served here; %s; %w", unknown.GetSpecifiedName(), advice, errUsage)
			}
		}
		return fmt.Errorf("%w; %w", err, errUsage)
	})
	f.define(cmd.Flags())
	return cmd
}
