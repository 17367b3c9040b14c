package node

import (
	"errors"
	"os/exec"
	"runtime"

	"github.com/weir-lb/weir/topo/netns"
)

// Spawner starts processes from one thread of its own. The kernel sends a
// child its parent-death signal when the thread that forked it ends, not when
// the parent process does; on Go's pooled threads that is left to chance.
type Spawner struct {
	calls chan func() error
	done  chan error
	quit  chan struct{}
}

// NewSpawner returns a spawner that works while Run runs.
func NewSpawner() *Spawner {
	return &Spawner{calls: make(chan func() error), done: make(chan error), quit: make(chan struct{})}
}

// Run starts what Start asks for until Close. Its thread ends with it, and so
// do the processes that were started with a parent-death signal.
func (s *Spawner) Run() {
	// Never unlocked: the thread has been in other namespaces.
	runtime.LockOSThread()
	for {
		select {
		case f := <-s.calls:
			s.done <- f()
		case <-s.quit:
			return
		}
	}
}

// Close ends Run. It must be called once.
func (s *Spawner) Close() { close(s.quit) }

// start starts cmd in ns.
func (s *Spawner) start(ns *netns.NetNS, cmd *exec.Cmd) error {
	call := func() error {
		if err := ns.Enter(); err != nil {
			return err
		}
		return cmd.Start()
	}
	select {
	case s.calls <- call:
		return <-s.done
	case <-s.quit:
		return errors.New("the topology is down")
	}
}
