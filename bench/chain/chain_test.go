package chain

import (
	"context"
	"strings"
	"testing"

	"github.com/weir-lb/weir/bench/lab"
	"github.com/weir-lb/weir/bench/programs"
)

func TestSteadyCountsEveryDatagramAndHoldsTheChainToIt(t *testing.T) {
	l, c := open(t, lab.LookupXDP)
	s, err := c.Steady(t.Context(), 100, 6400)
	if err != nil || s.Sent != 6400 || s.Lost != 0 || s.Value <= 0 {
		t.Errorf("Steady: %+v, %v", s, err)
	}
	// The table of flows has never heard of these.
	if s, err := c.Cold(t.Context(), 640); err != nil || s.Sent != 640 || s.Lost != 640 {
		t.Errorf("Cold through a table that drops strangers: %+v, %v", s, err)
	}
	l.Balancer.Translates = true
	if _, err := c.Steady(t.Context(), 100, 6400); err == nil || !strings.Contains(err.Error(), "of 100 datagrams of 100 flows 0 arrived as they should") {
		t.Errorf("a chain that does not translate: %v", err)
	}
}

func TestLineOfAFloorIsAnybodys(t *testing.T) {
	_, c := open(t, lab.LineXDP)
	if s, err := c.Steady(t.Context(), 1000, 6400); err != nil || s.Sent != 6400 || s.Lost != 0 {
		t.Errorf("Steady: %+v, %v", s, err)
	}
	if s, err := c.Cold(t.Context(), 640); err != nil || s.Sent != 640 || s.Lost != 0 {
		t.Errorf("Cold: %+v, %v", s, err)
	}
}

func open(t *testing.T, b lab.Balancer) (*lab.Lab, *Chain) {
	t.Helper()
	l, err := lab.Up(t.Context(), b, lab.Options{Progress: t.Logf})
	if err != nil {
		t.Fatalf("%v; run as root", err)
	}
	t.Cleanup(func() {
		if err := l.Down(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	c, err := Open(l, programs.Clock{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, c
}
