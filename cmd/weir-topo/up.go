package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/topo"
)

// newUpCommand is weir-topo up.
func newUpCommand(g *globalFlags) *cobra.Command {
	var o topo.Options
	var vars []string
	cmd := &cobra.Command{
		Use:   "up PAGE|FILE",
		Short: "Build a topology and start its processes",
		Long: `Build a topology of the catalog, or of a YAML file, and leave it running.
When it fails or you press ^C, everything made so far is removed.`,
		Example: `  weir-topo up article
  weir-topo up one-lb --hook xdp --name xdp
  weir-topo up ./my-page.yaml --no-processes`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			page, err := topo.Load(args[0])
			if err != nil {
				return err
			}
			if o.Vars, err = parseVars(vars); err != nil {
				return err
			}
			if err := checkBinDir(o.BinDir); err != nil {
				return err
			}
			o.Name, o.Root, o.Keep, o.Progress = g.name, g.root, true, cmd.OutOrStdout()
			t, err := topo.Up(cmd.Context(), page, o)
			if err != nil {
				return err
			}
			sayNext(cmd, t)
			return t.Close()
		},
	}
	cmd.Flags().StringVar(&o.Hook, "hook", "", "hook of the load balancers: auto, xdp or tc (default: the page's)")
	cmd.Flags().StringVar(&o.BinDir, "bin", binDir(), "folder of weir's programs")
	cmd.Flags().BoolVar(&o.NoProcesses, "no-processes", false, "build the network and the files only")
	cmd.Flags().StringArrayVar(&vars, "var", nil, "set a variable of the page: name=value")
	return cmd
}

// sayNext tells what one can do with the topology.
func sayNext(cmd *cobra.Command, t *topo.Topology) {
	first := t.Nodes()[0].Name
	fmt.Fprintf(cmd.OutOrStdout(), "\n%s is up as %s: nodes %s\n  weir-topo exec --name %s %s -- ip route\n  weir-topo down %s\n",
		t.Page.Name, t.ID(), strings.Join(t.Page.Order, " "), t.ID(), first, t.ID())
}

// binDir is where this program is: the others are built beside it.
func binDir() string {
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	return filepath.Dir(exe)
}

// checkBinDir refuses a folder that is not there: programs of the same names
// elsewhere in PATH would run instead.
func checkBinDir(dir string) error {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no folder", dir)
	}
	if dir != "" && err != nil {
		return usageError{fmt.Errorf("read --bin: %w; give the folder of weir's programs", err)}
	}
	return nil
}

func parseVars(list []string) (map[string]string, error) {
	vars := make(map[string]string, len(list))
	for _, v := range list {
		name, value, ok := strings.Cut(v, "=")
		if !ok {
			return nil, usageError{fmt.Errorf("--var %s: write name=value", v)}
		}
		vars[name] = value
	}
	return vars, nil
}
