// bench is what `make bench` runs. Exit codes: 0 success, 1 it failed or weir lost
// packets, 2 wrong arguments.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/bench/report"
	"github.com/weir-lb/weir/bench/result"
)

const long = `bench measures weir beside floors, plain routing, nftables, iptables and HAProxy in one
run, in interleaved rounds, in network namespaces of its own. It needs root.

  bench run                                all of it, 15 minutes
  bench run --quick                        a smoke test, 2 minutes: is weir in the chain, is nothing lost
  bench run --only='testrun/xdp tcp'       rows by SECTION/SUBJECT/VARIANT, and what they are compared with
  bench list                               the names of all rows
  bench report --into docs/performance.md  put the last run's tables into a page

Sections: testrun (weir's programs alone), connections, requests, bulk (TCP end to end), chain
(forwarding, established flows), new-flow (first packets). Results, tables and plots are in
bench/out.`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// A second signal ends the program at once; the next run cleans up.
	context.AfterFunc(ctx, stop)
	err := root().ExecuteContext(ctx)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	if errors.As(err, new(usageError)) {
		os.Exit(2)
	}
	os.Exit(1)
}

// usageError is an error in the arguments.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func root() *cobra.Command {
	c := &cobra.Command{Use: "bench", Short: "Measure weir beside others", Long: long, SilenceUsage: true, SilenceErrors: true}
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	var out string
	c.PersistentFlags().StringVar(&out, "out", "bench/out", "folder of results and tables")
	c.AddCommand(runCommand(&out), listCommand(), reportCommand(&out))
	return c
}

func runCommand(out *string) *cobra.Command {
	var o options
	var only string
	c := &cobra.Command{Use: "run", Short: "Measure", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		var err error
		if only == "" && o.quick {
			only = quickRows
		}
		if o.only, err = regexp.Compile(only); err != nil {
			return usageError{fmt.Errorf("read --only: %w", err)}
		}
		if o.bin, err = filepath.Abs(o.bin); err != nil {
			return usageError{fmt.Errorf("read --bin: %w", err)}
		}
		r, err := run(c.Context(), o)
		if err != nil {
			return err
		}
		r.Only = only
		return save(r, *out)
	}}
	c.Flags().BoolVar(&o.quick, "quick", false, "a smoke test of two minutes")
	c.Flags().StringVar(&only, "only", "", "regular expression of the rows to measure (see `bench list`)")
	c.Flags().StringVar(&o.bin, "bin", "bin", "folder of weir's programs")
	return c
}

// save writes results and tables, and judges what can be judged on any machine.
func save(r *result.Run, out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("make folder of results: %w", err)
	}
	if err := r.Save(filepath.Join(out, "results.json")); err != nil {
		return err
	}
	for name, text := range map[string]string{"results.md": report.Page(r), "results.csv": report.CSV(r)} {
		if err := os.WriteFile(filepath.Join(out, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("write tables: %w", err)
		}
	}
	for i := range r.Sections {
		fmt.Printf("\n%s\n%s", r.Sections[i].Title, report.Matrix(&r.Sections[i]))
	}
	if !r.Quick {
		fmt.Printf("\nTargets\n%s", report.Targets(r))
	}
	fmt.Printf("\nbench: took %.0f s; tables are in %s\n", r.Took, out)
	return report.Smoke(r)
}

func listCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the rows that --only selects from", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		for _, s := range newSession(options{}).sections() {
			for _, c := range s.cases {
				fmt.Println(result.Name(s.Name, c.Subject, c.Variant))
			}
		}
		return nil
	}}
}

func reportCommand(out *string) *cobra.Command {
	var into string
	c := &cobra.Command{Use: "report", Short: "Print the last run's tables, or put them into a page", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		r, err := result.Load(filepath.Join(*out, "results.json"))
		if err != nil {
			return err
		}
		if into == "" {
			fmt.Print(report.Page(r))
			return nil
		}
		if r.Quick || r.Only != "" {
			return fmt.Errorf("fill %s: the last run was not whole; run `make bench` without QUICK and ONLY", into)
		}
		return fill(into, report.Parts(r))
	}}
	c.Flags().StringVar(&into, "into", "", "page whose places `<!-- bench: NAME -->` get the tables")
	return c
}

func fill(file string, parts map[string]string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read page: %w", err)
	}
	page, err := report.Splice(string(b), parts)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// quickRows are what a smoke test measures: every hook, protocol and way once.
var quickRows = strings.Join([]string{
	`^testrun/(xdp|tc) (tcp|udp|sctp) (64|1500)/1$`, `^testrun/(xdp|tc) (no-vip|new-flow) 64/`,
	`^(connections|bulk)/weir-`, `^requests/weir-tc/`, `^chain/(weir-xdp|weir-tc|nftables|iptables)/1000$`, `^new-flow/(weir-xdp|weir-tc)/`,
	`^connections/haproxy/`,
}, "|")
