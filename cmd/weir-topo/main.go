// weir-topo builds topologies of network namespaces, runs commands in their
// nodes and takes them down again. Exit codes: 0 success, 1 it failed, 2 wrong
// arguments; exec gives the exit code of its command.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/cmd/internal/version"
)

const long = `weir-topo builds networks of namespaces out of YAML pages: nodes, links, processes.

  weir-topo list                               what there is, and what runs
  weir-topo graph article                      a picture of a page
  weir-topo up article                         build it and start its processes
  weir-topo run article                        the same, then show step by step what it does
  weir-topo exec client -- ip route            run a command in a node
  weir-topo down                               remove it: processes, namespaces, files

Several topologies can be up at the same time; --name tells them apart.
It needs root.`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// A second signal ends the program at once; the next up or down cleans up.
	context.AfterFunc(ctx, stop)
	err := newRoot().ExecuteContext(ctx)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "weir-topo:", err)
	if errors.As(err, new(usageError)) {
		os.Exit(2)
	}
	os.Exit(1)
}

// usageError is an error in the arguments.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// globalFlags are the flags of all commands on topologies.
type globalFlags struct {
	root string
	name string
}

func newRoot() *cobra.Command {
	var g globalFlags
	root := &cobra.Command{
		Use: "weir-topo", Version: version.String(), Short: "Build topologies of network namespaces", Long: long,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentFlags().StringVar(&g.root, "state", "", "folder of the topologies' state (default /run/weir-topo)")
	root.PersistentFlags().StringVar(&g.name, "name", "", "id of the topology: 1 to 12 of a-z and 0-9 (default: a new one, or the only one that is up)")
	for _, c := range []*cobra.Command{
		newUpCommand(&g), newRunCommand(&g), newDownCommand(&g), newExecCommand(&g), newGraphCommand(), newListCommand(&g), newDumpCommand(&g),
	} {
		root.AddCommand(needArgs(c))
	}
	root.AddCommand(newServeCommand(), newRequestCommand())
	return root
}

// needArgs makes wrong arguments a usage error.
func needArgs(c *cobra.Command) *cobra.Command {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError{fmt.Errorf("%w; see `weir-topo %s --help`", err, cmd.Name())}
			}
			return nil
		}
	}
	return c
}
