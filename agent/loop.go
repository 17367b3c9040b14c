package agent

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
)

// progress is how far the loop has come.
type progress struct {
	// applied is the generation of each owner that is in force.
	applied map[string]v1.Generation
	// failure says why applied lags, empty when it does not.
	failure string
	// outcome is what the dataplane answered last for each frontend.
	outcome map[v1.Frontend]v1.ServiceStatus
	// announced are the services that the speaker was given last.
	announced map[v1.Frontend]struct{}
}

// loop applies the desired state after each change, and again after a failure
// with growing pauses. Changes that come while it works are one change.
func (n *Node) loop(ctx context.Context) error {
	pause := backoff{min: n.opts.RetryMin, max: n.opts.RetryMax}
	var retry <-chan time.Time
	var backends <-chan struct{}
	if n.opts.Dataplane != nil {
		backends = n.opts.Dataplane.BackendsChanged()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.store.Changed():
		case <-retry:
		case <-backends:
			if !mayWithdraw(n.desired().Services) {
				continue
			}
		}
		retry = nil
		if n.step(ctx) {
			pause.reset()
		} else {
			retry = time.After(pause.next())
		}
	}
}

// step applies the desired state once and tells whether all of it is in force.
func (n *Node) step(stopping context.Context) bool {
	ctx, cancel := context.WithTimeout(stopping, applyTimeout)
	defer cancel()
	n.stepping.Lock()
	defer n.stepping.Unlock()
	d := n.desired()
	outcome, whole, derr := n.program(ctx, d)
	if stopping.Err() != nil {
		return true // what failed, failed because the node ends
	}
	// BGP goes on when the dataplane fails: sessions and what is announced
	// already must not suffer from it. It does not begin so: peers that have
	// kept an earlier run's routes drop those that the first session lacks.
	if derr != nil && n.snapshot().outcome == nil {
		n.record(d, nil, nil, failureOf(derr))
		return false
	}
	announce := withoutDead(announceable(d.Services, outcome, n.snapshot().announced), outcome)
	if n.withdrawn {
		announce = nil
	}
	berr := n.announce(ctx, d, announce)
	if stopping.Err() != nil {
		return true
	}
	n.record(d, outcome, announce, failureOf(derr, berr))
	return whole && derr == nil && berr == nil
}

// program drives the dataplane. It returns the outcome of each service, and
// whether all are programmed.
func (n *Node) program(ctx context.Context, d Desired) (map[v1.Frontend]v1.ServiceStatus, bool, error) {
	if n.opts.Dataplane == nil {
		return nil, true, nil
	}
	statuses, err := n.opts.Dataplane.Apply(ctx, d.Services, d.Roles)
	if err != nil {
		return nil, false, fmt.Errorf("apply services: %w", err)
	}
	outcome := make(map[v1.Frontend]v1.ServiceStatus, len(statuses))
	whole := true
	for _, s := range statuses {
		outcome[s.Frontend] = s
		whole = whole && s.Programmed
	}
	return outcome, whole, nil
}

func (n *Node) announce(ctx context.Context, d Desired, services []v1.Service) error {
	if n.opts.Speaker == nil {
		return nil
	}
	if err := n.opts.Speaker.Apply(ctx, d.BGP, services, d.Roles); err != nil {
		return fmt.Errorf("apply bgp: %w", err)
	}
	return nil
}

// announceable picks the services whose VIPs may be announced: those that are
// programmed, and those that were announced before, since a failed change
// leaves the old service in force.
func announceable(services []v1.Service, outcome map[v1.Frontend]v1.ServiceStatus, before map[v1.Frontend]struct{}) []v1.Service {
	var picked []v1.Service
	for _, s := range services {
		_, was := before[s.Frontend]
		if was || outcome[s.Frontend].Programmed {
			picked = append(picked, s)
		}
	}
	return picked
}

// record stores what a step reached, and logs what changed by it.
func (n *Node) record(d Desired, outcome map[v1.Frontend]v1.ServiceStatus, announced []v1.Service, failure string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := progress{
		applied:   n.progress.applied,
		outcome:   n.progress.outcome,
		announced: make(map[v1.Frontend]struct{}, len(announced)),
	}
	for _, s := range announced {
		next.announced[s.Frontend] = struct{}{}
	}
	if outcome != nil {
		next.outcome = outcome
	}
	if next.failure = failure; failure == "" {
		next.applied = d.Generations
	}
	switch {
	case next.failure != "" && next.failure != n.progress.failure:
		n.opts.Log.Warn("state not applied, retrying", "error", next.failure)
	case next.failure == "" && !maps.Equal(next.applied, n.progress.applied):
		n.opts.Log.Info("state applied", "services", len(d.Services), "refused", len(d.Refused), "generations", generations(next.applied))
	case next.failure == "" && n.progress.failure != "":
		n.opts.Log.Info("state applied after failures")
	}
	n.progress = next
}

// snapshot returns the progress; its maps are never changed, only replaced.
func (n *Node) snapshot() progress {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.progress
}

func generations(g map[string]v1.Generation) map[string]string {
	text := make(map[string]string, len(g))
	for o, v := range g {
		text[o] = v.String()
	}
	return text
}

// failureOf puts errors on one line, empty when there is none.
func failureOf(errs ...error) string {
	var lines []string
	for _, err := range errs {
		if err != nil {
			lines = append(lines, err.Error())
		}
	}
	return strings.Join(lines, "; ")
}
