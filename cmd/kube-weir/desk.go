package main

import (
	"slices"
	"sync/atomic"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/cmd/internal/version"
	"github.com/weir-lb/weir/controller/loop"
)

// desk answers people for the controller, also while it waits for its turn to
// lead and decides nothing. Safe for concurrent use.
type desk struct {
	source string
	// leader says who leads as far as is known; nil where nobody has to.
	leader func() string
	// problems are those that no decision knows of; nil for none at any time.
	problems func() []v1.Problem
	loop     atomic.Pointer[loop.Loop]
}

// Status is GET /v1/controller.
func (d *desk) Status() v1.ControllerStatus {
	s := v1.ControllerStatus{Version: version.String(), Source: d.source}
	if l := d.loop.Load(); l != nil {
		s = l.Status()
	}
	if d.leader != nil {
		s.Leader = d.leader()
	}
	if d.problems != nil {
		s.Problems = slices.Concat(s.Problems, d.problems())
	}
	return s
}

// notReady says what the controller waits for, empty where it does its work.
// One that stands by for a leader it knows of does.
func (d *desk) notReady() string {
	l := d.loop.Load()
	switch {
	case l != nil && !l.Ready():
		return "nothing is decided yet; ask again"
	case l == nil && d.leader == nil:
		return "the controller has not begun; ask again"
	case l == nil && d.leader() == "":
		return "the apiserver has not said who leads; is it there, and may this account read leases?"
	}
	return ""
}
