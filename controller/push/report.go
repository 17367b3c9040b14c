package push

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

// reporting is what a worker knows of its node's services, under its lock.
type reporting struct {
	// due is when the node is asked next, zero for at once.
	due time.Time
	// since is when it answered last, or when it was met.
	since time.Time
	// failure is why the last report did not come, empty where it did.
	failure string
	last    controller.NodeReport
	// of is the state that last is about.
	of v1.Generation
}

// Reports are those of the load balancer nodes of the last Set, by name.
func (p *Pusher) Reports() []controller.NodeReport {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []controller.NodeReport
	for _, w := range p.workers {
		if r, ok := w.lastReport(); ok {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b controller.NodeReport) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

// Reported receives when Reports may have become others.
func (p *Pusher) Reported() <-chan struct{} { return p.reported }

func (w *worker) lastReport() (controller.NodeReport, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.reporting.last
	r.Node = w.target.Name
	return r, w.reports()
}

// reports says that the node is one whose services count; the caller holds the
// lock.
func (w *worker) reports() bool { return w.target.Role == v1.NodeLB && w.gone.IsZero() }

// ask asks the node whether it has its state still, and where that is due how
// its services fare, in one request. A report that fails costs nothing else:
// nodes of an older version have none.
func (w *worker) ask(ctx context.Context, node Node) (v1.OwnerStatus, error) {
	if w.reportDue(time.Now()) {
		if status, ok := w.readReport(ctx, node); ok {
			return status, nil
		}
	}
	return node.OwnerStatus(ctx, w.pusher.opts.Owner)
}

func (w *worker) reportDue(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reports() && !now.Before(w.reporting.due)
}

// readReport reads a report, within a time that holds up no change for long.
func (w *worker) readReport(ctx context.Context, node Node) (v1.OwnerStatus, bool) {
	o := w.pusher.opts
	ctx, cancel := context.WithTimeout(ctx, o.ReportTimeout)
	defer cancel()
	report, err := node.Report(ctx, o.Owner)
	if err == nil && report.Owner != o.Owner {
		err = fmt.Errorf("its report is of owner %q, and %q was asked for", report.Owner, o.Owner)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.reporting.due = now.Add(o.Report)
	if err != nil {
		w.reporting.failure = err.Error()
		return v1.OwnerStatus{}, false
	}
	w.takeReport(report, now)
	return report.OwnerStatus, true
}

// takeReport takes in what a node says; the caller holds the lock.
func (w *worker) takeReport(r v1.OwnerReport, now time.Time) {
	w.reporting.failure, w.reporting.since = "", now
	news := w.reporting.last.Lost != ""
	w.reporting.last.Lost = ""
	switch {
	case r.Desired != w.pushed || w.pushed != w.desired().Generation:
		// Of another state than the one that is desired now: a report comes
		// after that one was pushed.
	case r.Applied != r.Desired && r.Error == "":
		// The node is at it.
		w.reporting.due = now.Add(w.pusher.opts.Poll)
	default:
		next := controller.NodeReport{Answered: true, Services: w.target.State.Services, Faults: faultsOf(r.Faults, w.target.State.Services)}
		news = news || r.Desired != w.reporting.of || !maps.Equal(w.reporting.last.Faults, next.Faults)
		w.reporting.last, w.reporting.of = next, r.Desired
	}
	if news {
		signal(w.pusher.reported)
	}
}

// longest is how many bytes are kept of what a node says of one service.
const longest = 512

// faultsOf keeps what concerns services that the node was told of: what it
// sends besides takes no memory.
func faultsOf(faults []v1.ServiceFault, services []v1.Service) map[v1.Frontend]v1.Condition {
	if len(faults) == 0 {
		return nil
	}
	told, _ := byFrontend(services)
	kept := make(map[v1.Frontend]v1.Condition, min(len(faults), len(told)))
	for _, f := range faults {
		if _, ours := told[f.Frontend]; !ours {
			continue
		}
		if _, first := kept[f.Frontend]; !first {
			f.Condition.Status, f.Condition.Unknown = false, false
			f.Condition.Message = strings.ToValidUTF8(f.Condition.Message[:min(len(f.Condition.Message), longest)], "")
			kept[f.Frontend] = f.Condition
		}
	}
	return kept
}

// reportSoon has the node asked soon after it accepted a state, and not later
// for those that follow; the caller holds the lock.
func (w *worker) reportSoon(now time.Time) {
	if soon := now.Add(w.pusher.opts.Poll); w.reporting.due.After(soon) || w.reporting.due.IsZero() {
		w.reporting.due = soon
	}
}

// noteSilence marks a node as lost that has said nothing for a while; the caller
// holds the lock. Why stays as it was first, so that nothing is news but that.
func (w *worker) noteSilence(now time.Time) {
	r := &w.reporting
	if r.since.IsZero() {
		r.since = now
	}
	if !w.reports() || r.last.Lost != "" || now.Sub(r.since) < w.pusher.opts.ReportLost {
		return
	}
	r.last.Lost = cmp.Or(r.failure, w.report.LastError, "it says nothing")
	signal(w.pusher.reported)
}

// pollAfter is when the node is asked next for whatever is due; the caller holds
// the lock.
func (w *worker) pollAfter(now time.Time) time.Duration {
	poll := w.pusher.opts.Poll
	if w.reports() {
		poll = min(poll, max(0, w.reporting.due.Sub(now)))
	}
	return poll
}
