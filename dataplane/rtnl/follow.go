package rtnl

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

// Follow calls act with the kinds that have changed since the call before,
// and every tick with none, until ctx ends or act fails. Between two calls
// there is at least interval, and as long as the last call took times four,
// so that a storm of changes costs a fifth of a CPU at most. The first change
// after a rest is acted on at once. A tick of zero means no ticks.
//
// The error is act's; when ctx ends it is nil.
func (l *Listener) Follow(ctx context.Context, interval, tick time.Duration, act func(context.Context, Kind) error) error {
	group, within := errgroup.WithContext(ctx)
	changes := make(chan Kind)
	group.Go(func() error {
		for {
			kind, err := l.Next(within)
			if err != nil {
				return err
			}
			select {
			case changes <- kind:
			case <-within.Done():
				return within.Err()
			}
		}
	})
	group.Go(func() error { return pace(within, changes, interval, tick, act) })
	err := group.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// pace gathers changes and calls act.
func pace(ctx context.Context, changes <-chan Kind, interval, tick time.Duration, act func(context.Context, Kind) error) error {
	var pending Kind
	var ticks <-chan time.Time
	if tick > 0 {
		ticker := time.NewTicker(tick)
		defer ticker.Stop()
		ticks = ticker.C
	}
	rest := time.NewTimer(0)
	defer rest.Stop()
	resting := true
	for {
		due := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case kind := <-changes:
			pending |= kind
		case <-rest.C:
			resting = false
		case <-ticks:
			due = true
		}
		if !due && (resting || pending == 0) {
			continue
		}
		started := time.Now()
		if err := act(ctx, pending); err != nil {
			return err
		}
		pending, resting = 0, true
		rest.Reset(max(interval, 4*time.Since(started)))
	}
}
