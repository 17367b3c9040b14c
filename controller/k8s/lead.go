package k8s

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// leaseDuration is client-go's own for controllers. A leader that cannot renew
// gives up after two thirds of it, and tries seven times before.
const leaseDuration = 15 * time.Second

// endOfWork is how long the work of a leader that lost its lease is waited
// for. It is over before another may lead, a third of the lease later.
const endOfWork = 2 * time.Second

// ErrLeadershipLost says that another controller may lead now. The process
// must end at once: its next start waits for its turn.
var ErrLeadershipLost = errors.New("leadership lost: the lease could not be renewed in time; is the apiserver there?")

// leaderName is who leads, for people.
type leaderName struct {
	mu   sync.Mutex
	name string
}

func (l *leaderName) set(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.name = name
}

// Leader is the identity of the process that led last, as far as this one has
// heard; empty while it has heard of none.
func (c *Cluster) Leader() string {
	c.leader.mu.Lock()
	defer c.leader.mu.Unlock()
	return c.leader.name
}

// Lead waits until this process leads, then calls work, whose context ends
// with the leadership. It returns what work returned, nil where ctx ended
// before, and ErrLeadershipLost where another may lead: then work may still be
// on its way out, and the caller must end the process.
//
// The lease is given back after work has returned and not before, so that the
// next leader need not wait and never meets this one.
func (c *Cluster) Lead(ctx context.Context, work func(context.Context) error) error {
	// The election outlives ctx by as long as work takes to end.
	electing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	leading := make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(c.election(func(context.Context) { close(leading) }))
	if err != nil {
		return fmt.Errorf("elect a leader: %w", err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); elector.Run(electing) }()
	select {
	case <-leading:
	case <-ctx.Done():
		stop()
		<-ended
		return nil
	}
	return c.whileLeading(ctx, work, ended, stop)
}

// whileLeading runs work until it ends or the election does.
func (c *Cluster) whileLeading(ctx context.Context, work func(context.Context) error, ended <-chan struct{}, giveBack func()) error {
	working, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- work(working) }()
	select {
	case err := <-done:
		giveBack()
		<-ended
		return err
	case <-ended:
		cancel()
		late := time.NewTimer(endOfWork)
		defer late.Stop()
		select {
		case err := <-done:
			return errors.Join(ErrLeadershipLost, err)
		case <-late.C:
			return ErrLeadershipLost
		}
	}
}

func (c *Cluster) election(started func(context.Context)) leaderelection.LeaderElectionConfig {
	return leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: c.opts.Namespace, Name: c.opts.Name},
			Client:     c.lease.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: c.opts.Identity},
		},
		LeaseDuration:   c.opts.LeaseDuration,
		RenewDeadline:   c.opts.LeaseDuration * 2 / 3,
		RetryPeriod:     c.opts.LeaseDuration * 2 / 15,
		ReleaseOnCancel: true,
		Name:            c.opts.Name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: started,
			OnStoppedLeading: func() {},
			OnNewLeader: func(identity string) {
				c.leader.set(identity)
				c.opts.Log.Info("leader", "identity", identity, "this_process", identity == c.opts.Identity)
			},
		},
	}
}

// randomIdentity differs between two processes of one host.
func randomIdentity() (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", err
	}
	return host + "_" + rand.Text()[:8], nil
}
