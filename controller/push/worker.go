package push

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
)

// worker keeps one node at what is desired.
type worker struct {
	pusher *Pusher
	key    netip.AddrPort
	wake   chan struct{}
	// started is the Pusher's, under its lock.
	started bool

	mu       sync.Mutex
	target   Target
	sequence uint64        // of the desired state
	pushed   v1.Generation // accepted by the node last
	held     v1.NodeState  // what a change may be to, zero for nothing
	gone     time.Time     // when the node left the cluster, zero while it is there
	// superseded is set by a *Conflict and stays: who leads is not settled by
	// trying harder.
	superseded bool
	pause      time.Duration // before the next attempt, zero after a success
	report     v1.ControllerNode
	reporting  reporting
}

func newWorker(p *Pusher, key netip.AddrPort) *worker {
	return &worker{pusher: p, key: key, wake: make(chan struct{}, 1)}
}

// want takes the target in. The generation moves with the state only.
func (w *worker) want(t Target, next func() uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sequence == 0 || !w.gone.IsZero() || !v1.EqualStates(t.State, w.target.State) {
		w.sequence = next()
		signal(w.wake)
	}
	w.gone = time.Time{}
	w.target = t
}

// remove asks for an empty state.
func (w *worker) remove(now time.Time, next func() uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.gone.IsZero() {
		return
	}
	w.gone = now
	w.target.State, w.target.Active = v1.NodeState{}, false
	w.sequence = next()
	signal(w.wake)
}

func (w *worker) removed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.gone.IsZero()
}

// desired is the state with its generation.
func (w *worker) desired() v1.NodeState {
	s := w.target.State
	s.Generation = v1.Generation{Epoch: w.pusher.opts.Epoch, Sequence: w.sequence}
	return s
}

// run pushes and polls until ctx ends or the node is gone.
func (w *worker) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var node Node
	defer func() {
		if node != nil {
			node.Close()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-w.wake:
			// A change does not cut short the pause of a node that fails:
			// changes come often, and each attempt costs a time-out.
			if w.pausing() {
				continue
			}
		}
		var err error
		if node == nil {
			node, err = w.pusher.opts.Dial(w.current())
		}
		if err == nil {
			err = w.step(ctx, node)
		}
		if ctx.Err() != nil {
			return
		}
		if w.over(err) && w.pusher.finish(w) {
			return
		}
		timer.Reset(w.settle(err))
	}
}

func (w *worker) current() Target {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.target
}

func (w *worker) pausing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pause > 0
}

// step pushes what is due, or asks the node whether it has it still.
func (w *worker) step(ctx context.Context, node Node) error {
	ctx, cancel := context.WithTimeout(ctx, w.pusher.opts.Timeout)
	defer cancel()
	w.mu.Lock()
	state, held, pushed, stopped := w.desired(), w.held, w.pushed, w.superseded
	w.mu.Unlock()
	if stopped {
		return nil
	}
	if pushed == state.Generation {
		status, err := w.ask(ctx, node)
		if err != nil {
			return err
		}
		if status.Desired.Compare(pushed) >= 0 {
			return w.compare(status)
		}
		// The node restarted without its state, or somebody removed it.
		held = v1.NodeState{}
	}
	began := time.Now()
	err := w.send(ctx, node, held, state)
	w.pusher.opts.Pushed(w.current().Name, time.Since(began), err)
	if c := (*Conflict)(nil); errors.As(err, &c) {
		return w.stop(c)
	}
	if err != nil {
		// Whatever it is that a node does not like about a change, the whole
		// state does without.
		w.holds(v1.NodeState{})
		return err
	}
	w.accepted(state)
	return nil
}

// send brings a node that held the one state, by all that is known, to the
// other. A *Conflict is one that a whole state met.
func (w *worker) send(ctx context.Context, node Node, held, state v1.NodeState) error {
	owner := w.pusher.opts.Owner
	if held.Generation != (v1.Generation{}) {
		if change, small := changeOf(held, state); small {
			err := settled(node.PatchState(ctx, owner, change), state.Generation)
			if c := (*Conflict)(nil); !errors.As(err, &c) {
				return err
			}
			// The node holds something else, which a whole state replaces.
		}
	}
	err := node.PutState(ctx, owner, state)
	if r := (*Refused)(nil); errors.As(err, &r) && r.Path == "drained" && state.Drained {
		// It is of a version before that field. It has to hear of its ranks all
		// the same; its end is a restart.
		state.Drained = false
		err = node.PutState(ctx, owner, state)
	}
	return settled(err, state.Generation)
}

// settled is err, but nil where the node says that it holds the generation
// already: it accepted it before, and only the answer was lost.
func settled(err error, sent v1.Generation) error {
	if c := (*Conflict)(nil); errors.As(err, &c) && c.Current == sent {
		return nil
	}
	return err
}

// compare looks at a node that holds the pushed state or a newer one.
func (w *worker) compare(s v1.OwnerStatus) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.Desired != w.pushed {
		w.superseded = true
		w.report.LastError = (&Conflict{s.Desired}).Error()
		return nil
	}
	// The node accepted it; why it does not apply it is for people.
	w.report.LastError = s.Error
	return nil
}

func (w *worker) stop(c *Conflict) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.superseded = true
	w.report.LastError = c.Error()
	return nil
}

func (w *worker) holds(s v1.NodeState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = s
}

func (w *worker) accepted(s v1.NodeState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pushed, w.held = s.Generation, s
	w.report.LastPush = time.Now()
	w.reportSoon(w.report.LastPush)
	w.report.LastError = ""
}

// behind says that the node has not accepted what was desired by mark.
func (w *worker) behind(mark uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pushed != w.desired().Generation && w.pushed.Sequence <= mark
}

// over says that a node which left has its empty state, or was tried for long
// enough.
func (w *worker) over(err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone.IsZero() {
		return false
	}
	done := err == nil && (w.superseded || w.pushed == w.desired().Generation)
	return done || time.Since(w.gone) >= w.pusher.opts.RemoveFor
}

// settle notes how a step ended and returns the time to the next one.
func (w *worker) settle(err error) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.pusher.opts
	if err != nil {
		w.pause = min(max(2*w.pause, o.RetryMin), o.RetryMax)
		// From the upper half, so that nodes which failed together do not come
		// back together.
		d := w.pause/2 + rand.N(w.pause/2+1)
		w.report.Attempts++
		w.report.LastError = err.Error()
		w.report.NextRetry = time.Now().Add(d)
		w.noteSilence(time.Now())
		return d
	}
	w.pause, w.report.Attempts, w.report.NextRetry = 0, 0, time.Time{}
	w.noteSilence(time.Now())
	if w.superseded {
		return o.Poll
	}
	if w.pushed != w.desired().Generation {
		return 0 // changed while it was pushed
	}
	return w.pollAfter(time.Now())
}

func (w *worker) status() v1.ControllerNode {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.report
	s.Name, s.Address, s.Role, s.Active = w.target.Name, w.target.Address, w.target.Role, w.target.Active
	s.Drained = w.target.State.Drained
	s.Desired, s.Pushed, s.Services = w.desired().Generation, w.pushed, len(w.target.State.Services)
	switch {
	case w.superseded:
		s.State = v1.PushSuperseded
	case !w.gone.IsZero():
		s.State = v1.PushRemoving
	case s.Attempts > 0:
		s.State = v1.PushRetrying
	case w.pushed == s.Desired:
		s.State = v1.PushInSync
	default:
		s.State = v1.PushPending
	}
	return s
}
