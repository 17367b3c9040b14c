// Package replay shows a running topology step by step: it runs the commands of
// the page's steps in their nodes, repeats each until its output says what the
// step expects, and follows a packet through the network where a step asks for
// it. What a reader sees is what is checked.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/weir-lb/weir/topo"
	"github.com/weir-lb/weir/topo/node"
	"github.com/weir-lb/weir/topo/spec"
)

// pause lies between two tries of a step's command.
const pause = 250 * time.Millisecond

// Run shows all steps of t's page on out and stops at the first that does not
// come true. The error names the step and what was expected.
func Run(ctx context.Context, t *topo.Topology, out io.Writer) error {
	steps := t.Page.Steps
	if len(steps) == 0 {
		return fmt.Errorf("replay page %s: it has no steps; look around with weir-topo exec", t.Page.Name)
	}
	for i, s := range steps {
		fmt.Fprintf(out, "\n[%d/%d] %s\n", i+1, len(steps), s.Title)
		if s.Proves != "" {
			fmt.Fprintf(out, "%s\n", indent(strings.TrimSpace(s.Proves), "      "))
		}
		if err := show(ctx, t, s, out); err != nil {
			return fmt.Errorf("step %d of %d, %q: %w", i+1, len(steps), s.Title, err)
		}
	}
	return nil
}

// show runs one step and prints the output that came true, or the last one.
func show(ctx context.Context, t *topo.Topology, s spec.Step, out io.Writer) error {
	n := t.Node(s.Node)
	words, err := commandLine(n, s)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n  %s$ %s\n", n.Name, strings.Join(words, " "))
	want, err := compile(s)
	if err != nil {
		return err
	}
	tracer, err := openTracer(t, s.Trace)
	if err != nil {
		return err
	}
	began := time.Now()
	output, err := untilTrue(ctx, s, want, func(ctx context.Context) (string, error) {
		tracer.forget()
		return n.Run(ctx, words[0], words[1:]...)
	})
	fmt.Fprintf(out, "%s\n", indent(strings.TrimRight(output, "\n"), "  | "))
	if err != nil {
		return errors.Join(err, tracer.close())
	}
	if err := tracer.report(ctx, out); err != nil {
		return errors.Join(err, tracer.close())
	}
	fmt.Fprintf(out, "  ok after %d ms\n", time.Since(began).Milliseconds())
	return tracer.close()
}

func commandLine(n *node.Node, s spec.Step) ([]string, error) {
	words, err := spec.SplitCommand(s.Run)
	if err != nil {
		return nil, err
	}
	for i, w := range words {
		if words[i], err = n.Vars.Expand(w); err != nil {
			return nil, err
		}
	}
	return words, nil
}

// expectation is what a step's output must say and must not say.
type expectation struct {
	expect, reject []*regexp.Regexp
}

func compile(s spec.Step) (expectation, error) {
	var e expectation
	for _, p := range s.Expect {
		re, err := spec.Pattern(p)
		if err != nil {
			return e, err
		}
		e.expect = append(e.expect, re)
	}
	for _, p := range s.Reject {
		re, err := spec.Pattern(p)
		if err != nil {
			return e, err
		}
		e.reject = append(e.reject, re)
	}
	return e, nil
}

// check returns nil when output is as expected, else what is not.
func (e expectation) check(output string) error {
	for _, re := range e.expect {
		if !re.MatchString(output) {
			return fmt.Errorf("no line matches %s", strings.TrimPrefix(re.String(), "(?m)"))
		}
	}
	for _, re := range e.reject {
		if line := re.FindString(output); line != "" {
			return fmt.Errorf("%q must not be there", line)
		}
	}
	return nil
}

// untilTrue repeats a command until its output is as expected or the step's
// time has passed. It returns the last output in either case.
func untilTrue(ctx context.Context, s spec.Step, want expectation, run func(context.Context) (string, error)) (string, error) {
	within := s.Within
	if within == 0 {
		within = spec.DefaultStepTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		output, err := run(ctx)
		if err == nil {
			if err = want.check(output); err == nil {
				return output, nil
			}
		}
		select {
		case <-ctx.Done():
			return output, fmt.Errorf("not true within %s: %w", within, err)
		case <-tick.C:
		}
	}
}

func indent(text, with string) string {
	return with + strings.ReplaceAll(text, "\n", "\n"+with)
}
