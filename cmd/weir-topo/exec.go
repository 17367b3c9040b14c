package main

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/topo"
)

// newExecCommand is weir-topo exec.
func newExecCommand(g *globalFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec NODE [--] COMMAND...",
		Short: "Run a command in a node",
		Long: `Run a command in a node's namespace, in place of this program: terminal, input
and exit code are the command's own. PATH begins with weir's programs and
WEIR_SOCKET names the node's weir, so that weirctl just works.`,
		Example: `  weir-topo exec client -- ip route
  weir-topo exec master1 -- weirctl get lb
  weir-topo exec worker1 -- gobgp neighbor
  weir-topo exec nginx-test -- bash`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			command := args[1:]
			if command[0] == "--" {
				command = command[1:]
			}
			if len(command) == 0 {
				return usageError{errors.New("no command given; see `weir-topo exec --help`")}
			}
			t, err := g.open()
			if err != nil {
				return err
			}
			return replace(t, args[0], command)
		},
	}
	// Flags after NODE are the command's own, with or without the dashes.
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// replace puts the command in place of this process.
func replace(t *topo.Topology, name string, command []string) error {
	if !t.Has(name) {
		return usageError{fmt.Errorf("%s has no node %q, it has %s", t.Page.Name, name, strings.Join(t.Page.Order, ", "))}
	}
	n := t.Node(name)
	path, err := n.LookPath(command[0])
	if err != nil {
		return err
	}
	// The new program takes over the namespace of the thread that calls exec.
	runtime.LockOSThread()
	if err := n.NS.Enter(); err != nil {
		return err
	}
	if err := syscall.Exec(path, command, n.Environ()); err != nil {
		return fmt.Errorf("run %s on %s: %w", command[0], name, err)
	}
	return nil
}
