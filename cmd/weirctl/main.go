// Command weirctl shows what weir and kube-weir do.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/weir-lb/weir/api/client"
)

// Exit codes, as --help lists them.
const (
	exitOK          = 0
	exitFailed      = 1 // the daemon could not do it, doctor found a failure, or anything else
	exitUsage       = 2
	exitUnreachable = 3
	exitRefused     = 4
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// errUsage marks errors that --help answers.
var errUsage = errors.New("see weirctl --help")

func usage(err error) error { return fmt.Errorf("%w; %w", err, errUsage) }

func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	cmd := newRoot(getenv)
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(stderr, "weirctl:", err)
	}
	return exitCode(err)
}

func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if errors.Is(err, errUsage) || errors.Is(err, errCannotExamine) {
		return exitUsage
	}
	e, ok := errors.AsType[*client.Error](err)
	switch {
	case !ok || e.Kind == client.Failed:
		return exitFailed
	case e.Kind == client.Unreachable:
		return exitUnreachable
	}
	return exitRefused
}
