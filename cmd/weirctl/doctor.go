package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/doctor"
	"github.com/weir-lb/weir/doctor/collect"
)

// errCannotExamine is for a machine that cannot be looked at; the exit code is
// that of wrong arguments, so that 1 always means a finding.
var errCannotExamine = errors.New("nothing was judged")

func newDoctor(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Look this node over: what is wrong, and what to do",
		Long: `Look over the node that this runs on, a master or a worker, and say what is wrong
and what to do: kernel, rights, forwarding, clock, weir itself, interfaces,
programs of others, offloads, reverse path filters and MTUs of overlays, service
addresses bound to an interface, services, backends and BGP sessions.

Run it in the node's network namespace, as root: on the node, or in weir's pod. It
changes nothing. While weir does not run it says so, and judges the machine alone.

Exit codes: 0 when nothing fails (warnings included), 1 when something does, 2 when
the node cannot be looked at.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.server != "" {
				return usage(errors.New("read --server: doctor looks at the machine that it runs on; run it there"))
			}
			facts, err := collect.Node()
			if err != nil {
				return fmt.Errorf("%w: %w", errCannotExamine, err)
			}
			facts.Observed, facts.Silence = observe(o, cmd)
			return report(cmd.OutOrStdout(), o.output == "json", doctor.Examine(facts))
		},
	}
}

// observe asks weir for all it knows; without an answer it says why.
func observe(o *options, cmd *cobra.Command) (*v1.ObservedState, string) {
	c, err := o.node()
	if err != nil {
		return nil, err.Error()
	}
	defer c.Close()
	observed, err := c.Observed(cmd.Context())
	if err != nil {
		return nil, err.Error()
	}
	return &observed, ""
}

// report prints the findings. The error is for those that fail.
func report(w io.Writer, asJSON bool, findings []doctor.Finding) error {
	failed := 0
	for _, f := range findings {
		if f.Level == doctor.Fail {
			failed++
		}
	}
	var err error
	if asJSON {
		err = printJSON(w, struct {
			Level    doctor.Level     `json:"level"`
			Findings []doctor.Finding `json:"findings"`
		}{doctor.Worst(findings), findings})
	} else {
		err = printFindings(w, findings)
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("doctor: %d of %d findings are failures", failed, len(findings))
	}
	return err
}

// printFindings has a line for what was seen, and one for what to do.
func printFindings(w io.Writer, findings []doctor.Finding) error {
	width := 0
	for _, f := range findings {
		width = max(width, len(f.Check))
	}
	for _, f := range findings {
		if _, err := fmt.Fprintf(w, "%-4s  %-*s  %s\n", strings.ToUpper(string(f.Level)), width, f.Check, f.Seen); err != nil {
			return err
		}
		if f.Do == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%*s  do: %s\n", 6+width, "", f.Do); err != nil {
			return err
		}
	}
	return nil
}
