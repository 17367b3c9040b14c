package fib

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
)

// errLost is what Watch returns when a subscription ended by itself: the
// socket overflowed and nobody knows what was in the messages.
var errLost = errors.New("kernel notifications were lost")

// Watch implements Kernel. It follows links too because the kernel removes
// the IPv4 routes of a link that goes down without a route notification.
func (k *Netlink) Watch(ctx context.Context, notify func()) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return follow(ctx, netlink.RouteSubscribe, notify) })
	g.Go(func() error { return follow(ctx, netlink.LinkSubscribe, notify) })
	g.Go(func() error { return follow(ctx, netlink.AddrSubscribe, notify) })
	return g.Wait()
}

// follow calls notify for every update until ctx ends. The subscription owns
// updates: it closes it once done is closed, or after an error.
func follow[T any](ctx context.Context, subscribe func(chan<- T, <-chan struct{}) error, notify func()) error {
	updates, done := make(chan T), make(chan struct{})
	if err := subscribe(updates, done); err != nil {
		return fmt.Errorf("subscribe to kernel notifications: %w", err)
	}
	defer func() {
		close(done)
		for range updates { // drained: the subscription ends only when it can send
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-updates:
			if !open {
				return errLost
			}
			notify()
		}
	}
}
