package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/weir-lb/weir/bench/chain"
	"github.com/weir-lb/weir/bench/endtoend"
	"github.com/weir-lb/weir/bench/lab"
	"github.com/weir-lb/weir/bench/machine"
	"github.com/weir-lb/weir/bench/programs"
	"github.com/weir-lb/weir/bench/result"
	"github.com/weir-lb/weir/bench/rounds"
	"github.com/weir-lb/weir/bench/testrun"
)

// options of a run.
type options struct {
	quick bool
	only  *regexp.Regexp
	bin   string
}

// effort is how much of everything a run measures.
type effort struct {
	rounds  int // of each case
	calls   int // of a program, each round
	packets int // through a chain, each round
	seconds endtoend.Seconds
}

var (
	whole = effort{rounds: 7, calls: 500_000, packets: 1_000_000, seconds: 2}
	quick = effort{rounds: 3, calls: 200_000, packets: 100_000, seconds: 1}
)

// coldFlows is how many first packets a round sends through a chain.
const coldFlows = 20_000

// session is a run under way.
type session struct {
	options
	effort
	clock  programs.Clock
	labs   map[string]*lab.Lab
	chains map[string]*chain.Chain
	alone  *testrun.Bench
	start  time.Time
}

func newSession(o options) *session {
	s := &session{options: o, effort: whole, labs: map[string]*lab.Lab{}, chains: map[string]*chain.Chain{}, start: time.Now()}
	if o.quick {
		s.effort = quick
	}
	return s
}

// progress prints a line with the seconds since the beginning.
func (s *session) progress(format string, args ...any) {
	fmt.Printf("bench: %4.0f s  %s\n", time.Since(s.start).Seconds(), fmt.Sprintf(format, args...))
}

// run measures what options ask for. It removes all that it has made, also when it
// fails or ctx ends.
func run(ctx context.Context, o options) (*result.Run, error) {
	watch, err := machine.Look(ctx, o.bin)
	if err != nil {
		return nil, err
	}
	s := newSession(o)
	if s.clock, err = programs.NewClock(); err != nil {
		return nil, err
	}
	r := &result.Run{Started: s.start, Quick: o.quick}
	s.progress("%s by %s", map[bool]string{true: "a smoke test, about 2 minutes,", false: "about 15 minutes, fewer with ONLY,"}[o.quick], s.clock)
	r.Sections, err = s.measure(ctx)
	if err != nil {
		return nil, err
	}
	r.Took = time.Since(s.start).Seconds()
	r.Machine, err = watch.Done()
	return r, err
}

func (s *session) measure(ctx context.Context) ([]result.Section, error) {
	var done []result.Section
	var left []section
	for _, sec := range s.sections() {
		if sec.cases = rounds.Select(sec.Name, sec.cases, s.only); len(sec.cases) > 0 {
			left = append(left, sec)
		}
	}
	if len(left) == 0 {
		return nil, usageError{fmt.Errorf("measure %q: no row has such a name; `bench list` lists them", s.only)}
	}
	if left[0].Name == testrun.Section {
		sec, err := s.measureAlone(ctx, left[0])
		if err != nil {
			return nil, err
		}
		done, left = append(done, sec), left[1:]
	}
	more, err := s.measureBeside(ctx, left)
	return append(done, more...), err
}

// measureAlone is the programs by themselves, in a lab of their own.
func (s *session) measureAlone(ctx context.Context, sec section) (out result.Section, err error) {
	l, err := lab.Up(ctx, lab.WeirXDP, lab.Options{BinDir: s.bin, MTU: testrun.MTU, Progress: s.progress})
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, l.Down(context.WithoutCancel(ctx))) }()
	if s.alone, err = testrun.Open(ctx, l, s.clock); err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, s.alone.Close()) }()
	return s.rows(ctx, sec)
}

// measureBeside is everything that needs the balancers beside each other. End to
// end comes first: the chain's programs would take the links' offloads away.
func (s *session) measureBeside(ctx context.Context, sections []section) (done []result.Section, err error) {
	defer func() { err = errors.Join(err, s.down(context.WithoutCancel(ctx))) }()
	if err := s.up(ctx, sections); err != nil {
		return nil, err
	}
	for _, sec := range sections {
		if sec.chain {
			if err := s.openChains(sec); err != nil {
				return nil, err
			}
		}
		out, err := s.rows(ctx, sec)
		if err != nil {
			return nil, err
		}
		done = append(done, out)
	}
	return done, nil
}

func (s *session) rows(ctx context.Context, sec section) (result.Section, error) {
	var err error
	sec.Rows, err = rounds.Run(ctx, sec.Name, s.rounds, sec.cases, s.progress)
	return sec.Section, err
}

// up builds a lab for each balancer that the sections name.
func (s *session) up(ctx context.Context, sections []section) error {
	servers := map[string]bool{}
	for _, sec := range sections {
		for _, c := range sec.cases {
			servers[c.Subject] = servers[c.Subject] || !sec.chain
		}
	}
	for _, b := range lab.All() {
		with, needed := servers[b.Name]
		if !needed {
			continue
		}
		l, err := lab.Up(ctx, b, lab.Options{BinDir: s.bin, Servers: with, Progress: s.progress})
		if err != nil {
			return err
		}
		s.labs[b.Name] = l
		if err := l.Check(); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) openChains(sec section) error {
	for _, c := range sec.cases {
		if s.chains[c.Subject] != nil {
			continue
		}
		opened, err := chain.Open(s.labs[c.Subject], s.clock)
		if err != nil {
			return err
		}
		s.chains[c.Subject] = opened
	}
	return nil
}

// down removes all labs.
func (s *session) down(ctx context.Context) error {
	var errs []error
	for _, c := range s.chains {
		errs = append(errs, c.Close())
	}
	for _, l := range s.labs {
		errs = append(errs, l.Down(ctx))
	}
	return errors.Join(errs...)
}
