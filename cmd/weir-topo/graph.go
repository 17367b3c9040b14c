package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/topo"
	"github.com/weir-lb/weir/topo/graph"
)

// newGraphCommand is weir-topo graph.
func newGraphCommand() *cobra.Command {
	var svg string
	cmd := &cobra.Command{
		Use:   "graph PAGE|FILE",
		Short: "Draw a page: as text, or as SVG",
		Example: `  weir-topo graph article
  weir-topo graph article --svg article.svg`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			page, err := topo.Load(args[0])
			if err != nil {
				return err
			}
			if svg == "" {
				fmt.Fprint(cmd.OutOrStdout(), graph.ASCII(page))
				return nil
			}
			if err := os.WriteFile(svg, []byte(graph.SVG(page)), 0o644); err != nil {
				return fmt.Errorf("write picture: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&svg, "svg", "", "write SVG to this file")
	return cmd
}
