package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/api/client"
)

func newGet(o *options) *cobra.Command {
	get := &cobra.Command{
		Use:   "get",
		Short: "Show objects of a node or of the controller",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			var names []string
			for _, c := range cmd.Commands() {
				names = append(names, c.Name())
			}
			return usage(fmt.Errorf("get %q: unknown object; use one of %s", strings.Join(args, " "), strings.Join(names, ", ")))
		},
	}
	get.AddCommand(getLB(o), getEP(o), getCT(o), getDrops(o), getNeigh(o), getSvc(o), getNodes(o))
	return get
}

// show is a command that reads one thing and prints it: as JSON exactly as the
// daemon has it, or with text.
func show[T any](o *options, cmd *cobra.Command,
	connect func() (*client.Client, error),
	read func(context.Context, *client.Client) (T, error),
	text func(cmd *cobra.Command, v T, wide bool) error,
) *cobra.Command {
	cmd.Args = noArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := connect()
		if err != nil {
			return err
		}
		defer c.Close()
		v, err := read(cmd.Context(), c)
		if err != nil {
			return err
		}
		if o.output == "json" {
			return printJSON(cmd.OutOrStdout(), v)
		}
		return text(cmd, v, o.output == "wide")
	}
	return cmd
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "    ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
