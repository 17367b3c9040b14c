package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Options of a Node.
type Options struct {
	// Name and Version are what the node calls itself.
	Name, Version string
	// Dataplane is nil on a peer, which only speaks BGP.
	Dataplane Dataplane
	// Speaker is nil where BGP is off.
	Speaker Speaker
	// StateFile is nil where a restart forgets what the owners want. The
	// caller keeps it and closes it after Run.
	StateFile *StateFile
	// Log is required.
	Log *slog.Logger
	// RetryMin and RetryMax bound the pause after a failed apply, which
	// doubles from one failure to the next. Optional; DefaultRetryMin and
	// DefaultRetryMax.
	RetryMin, RetryMax time.Duration
}

// Defaults of Options.
const (
	DefaultRetryMin = 200 * time.Millisecond
	DefaultRetryMax = 30 * time.Second
)

// applyTimeout bounds one apply, so that a stuck one is seen as an error:
// 10 000 services with 10 backends take the dataplane seconds at most.
const applyTimeout = time.Minute

// Node brings a dataplane and a speaker to the state that the owners want and
// tells how far they are. Its methods are safe for concurrent use. The caller
// keeps dataplane and speaker and closes them after Run.
type Node struct {
	opts  Options
	store *Store
	saver *saver

	// stepping is held while the parts are told what to do, so that nothing is
	// announced again after withdrawn was set.
	stepping  sync.Mutex
	withdrawn bool
	drainOnce sync.Once
	drained   chan struct{} // closed by the end of Drain

	mu       sync.Mutex
	progress progress
}

// New returns a node that wants what its state file says.
func New(o Options) *Node {
	if o.RetryMin == 0 {
		o.RetryMin = DefaultRetryMin
	}
	if o.RetryMax == 0 {
		o.RetryMax = DefaultRetryMax
	}
	if o.StateFile == nil {
		return &Node{opts: o, store: NewStore(Saved{}), drained: make(chan struct{})}
	}
	n := &Node{opts: o, store: NewStore(o.StateFile.Saved()), drained: make(chan struct{})}
	n.saver = &saver{
		file: o.StateFile, store: n.store, log: o.Log,
		pause: backoff{min: o.RetryMin, max: o.RetryMax}, failed: make(chan struct{}, 1),
	}
	return n
}

// Run works until ctx ends or Drain has ended, or until a part fails for good,
// which is its error. It is called once.
func (n *Node) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return n.loop(ctx) })
	group.Go(func() error { return n.watch(ctx) })
	group.Go(func() error {
		select {
		case <-ctx.Done():
		case <-n.drained:
			cancel()
		}
		return nil
	})
	if n.saver != nil {
		group.Go(func() error { return n.saver.run(ctx) })
	}
	if n.opts.Dataplane != nil {
		group.Go(func() error { return ended(ctx, "dataplane", n.opts.Dataplane.Run(ctx)) })
	}
	if n.opts.Speaker != nil {
		group.Go(func() error { return ended(ctx, "bgp", n.opts.Speaker.Run(ctx)) })
	}
	return group.Wait()
}

// ended judges how a part's Run ended. That it ends because ctx did is no
// error; that it ends by itself is one.
func ended(ctx context.Context, part string, err error) error {
	switch {
	case ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err())):
		return nil
	case err != nil:
		return fmt.Errorf("run %s: %w", part, err)
	}
	return fmt.Errorf("run %s: it ended by itself", part)
}

// Put takes an owner's state: it is being applied, and on the disk, when Put
// returns. Errors are *v1.FieldError and *ConflictError. Services that cannot
// be do not fail it (see Services), nor does a disk that is full (see
// Observed).
func (n *Node) Put(owner string, state v1.NodeState) (v1.OwnerStatus, error) {
	if err := v1.ValidateOwner(owner); err != nil {
		return v1.OwnerStatus{}, err
	}
	if err := v1.ValidateState(state); err != nil {
		return v1.OwnerStatus{}, err
	}
	if err := n.store.Put(owner, state); err != nil {
		return v1.OwnerStatus{}, err
	}
	n.saver.save()
	return n.ownerStatus(owner, state.Generation), nil
}

// Patch changes an owner's state, as Put replaces it.
func (n *Node) Patch(owner string, change v1.NodeChange) (v1.OwnerStatus, error) {
	if err := v1.ValidateOwner(owner); err != nil {
		return v1.OwnerStatus{}, err
	}
	if err := v1.ValidateChange(change); err != nil {
		return v1.OwnerStatus{}, err
	}
	state, err := n.store.Patch(owner, change)
	if err != nil {
		return v1.OwnerStatus{}, err
	}
	n.saver.save()
	return n.ownerStatus(owner, state.Generation), nil
}

// Delete forgets an owner and all that it asked for, and returns the zero
// generation as its desired one. The error is ErrNoOwner.
func (n *Node) Delete(owner string) (v1.OwnerStatus, error) {
	if err := n.store.Delete(owner); err != nil {
		return v1.OwnerStatus{}, err
	}
	n.saver.save()
	return n.ownerStatus(owner, v1.Generation{}), nil
}

// States returns what each owner asked for, without passwords.
func (n *Node) States() v1.DesiredState { return v1.DesiredState(n.store.States()).Redacted() }

// Version names this program.
func (n *Node) Version() v1.Version {
	return v1.Version{Node: n.opts.Name, Version: n.opts.Version, Mode: n.mode(), Go: runtime.Version()}
}

func (n *Node) mode() string {
	if n.opts.Dataplane == nil {
		return v1.NodePeer
	}
	return v1.NodeLB
}

// desired is the merge of all owners, cut to what this node can do.
func (n *Node) desired() Desired {
	d := n.store.Desired()
	if n.opts.Dataplane == nil {
		d = d.withoutDataplane()
	}
	if n.opts.Speaker == nil {
		d = d.withoutSpeaker()
	}
	return d
}
