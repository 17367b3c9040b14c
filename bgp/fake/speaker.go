// Package fake replaces the speaker and the kernel in tests of package node.
package fake

import (
	"context"
	"errors"
	"slices"
	"sync"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bgp"
)

// Speaker is a bgp.Speaker that remembers what it was told and reports what a
// test sets. The zero value is of no use; see NewSpeaker.
type Speaker struct {
	changed chan struct{}

	mu      sync.Mutex
	running bool
	closed  bool
	config  bgp.Config
	state   bgp.State
	fail    error
	starts  int
}

var _ bgp.Speaker = (*Speaker)(nil)

var errNotStarted = errors.New("the speaker is not started")

// NewSpeaker returns a speaker that is not started.
func NewSpeaker() *Speaker { return &Speaker{changed: make(chan struct{}, 1)} }

// SetState makes State return st.
func (s *Speaker) SetState(st bgp.State) {
	s.mu.Lock()
	s.state = st
	s.mu.Unlock()
	s.notify()
}

// FailStart makes Start fail with err, nil to let it succeed again.
func (s *Speaker) FailStart(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

// Told returns what the speaker runs with, and whether it runs.
func (s *Speaker) Told() (bgp.Config, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config, s.running
}

// Starts counts the attempts to start.
func (s *Speaker) Starts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.starts
}

// Closed is true after Close.
func (s *Speaker) Closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Start implements bgp.Speaker.
func (s *Speaker) Start(_ context.Context, g bgp.Global) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starts++
	if s.fail != nil {
		return s.fail
	}
	if s.running && s.config.Global == g {
		return nil
	}
	s.running, s.config = true, bgp.Config{Global: g}
	return nil
}

func (s *Speaker) set(edit func(*bgp.Config)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		return errNotStarted
	}
	edit(&s.config)
	return nil
}

// SetPolicy implements bgp.Speaker.
func (s *Speaker) SetPolicy(_ context.Context, p bgp.Policy) error {
	return s.set(func(c *bgp.Config) { c.Policy = p })
}

// SetPeers implements bgp.Speaker.
func (s *Speaker) SetPeers(_ context.Context, peers []bgp.Peer) error {
	return s.set(func(c *bgp.Config) { c.Peers = slices.Clone(peers) })
}

// SetAdvertisements implements bgp.Speaker.
func (s *Speaker) SetAdvertisements(_ context.Context, ads []v1.Advertisement) error {
	return s.set(func(c *bgp.Config) { c.Advertisements = slices.Clone(ads) })
}

// Watch implements bgp.Speaker.
func (s *Speaker) Watch() <-chan struct{} { return s.changed }

// State implements bgp.Speaker.
func (s *Speaker) State(context.Context) (bgp.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		return bgp.State{}, nil
	}
	return s.state, nil
}

// Stop implements bgp.Speaker.
func (s *Speaker) Stop(context.Context) error {
	s.mu.Lock()
	s.running, s.config = false, bgp.Config{}
	s.mu.Unlock()
	s.notify()
	return nil
}

// Close implements bgp.Speaker.
func (s *Speaker) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.running = true, false
	return nil
}

func (s *Speaker) notify() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}
