package restart

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/topo/probe"
)

const (
	// every is how often each flow asks.
	every = time.Second
	// patience is for one answer. Nothing sends a datagram again, nor here an SCTP
	// message, so one that is lost shows; a lost TCP segment shows as sent again, with
	// the client or with the pod.
	patience = 5 * time.Second
)

// flow is a connection, association or socket that stays open.
type flow interface {
	// ask returns who answered, and whom that saw: the translated client, which
	// stays the same as long as the load balancer knows the flow.
	ask(ctx context.Context) (backend string, seen netip.AddrPort, err error)
	// resent counts the segments that TCP had to send again.
	resent() (int, error)
	close(ctx context.Context)
}

// session is a flow over UDP or SCTP.
type session struct{ *probe.Session }

func (s session) ask(ctx context.Context) (string, netip.AddrPort, error) {
	a, err := s.Ask(ctx)
	return a.Backend, a.SeenClient, err
}

func (session) resent() (int, error)        { return 0, nil }
func (s session) close(ctx context.Context) { _ = s.Close(ctx) } // its service may be gone

// page is a connection over which one page after the other is fetched.
type page struct{ *lab.Connection }

func (p page) ask(ctx context.Context) (string, netip.AddrPort, error) { return p.Ask(ctx) }
func (p page) resent() (int, error)                                    { return p.Resent() }
func (p page) close(context.Context)                                   { _ = p.Close() }

// flows are open flows of the three services, each of which asks every second.
type flows struct {
	// asking is held for reading by who waits for an answer.
	asking sync.RWMutex

	stop context.CancelFunc
	all  []*asked
	wg   sync.WaitGroup

	// byPods counts what the pods of TCP have sent again since the flows are open.
	byPods func() (int, error)
}

// asked is one flow with what became of its requests.
type asked struct {
	flow

	name string

	mu       sync.Mutex
	requests int
	failure  string // the first
}

// asks tells whether a request was answered already.
func (a *asked) asks() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.requests > 0
}

// note counts a request, with what was wrong with it; it returns whether all is
// well.
func (a *asked) note(wrong string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests++
	if wrong != "" {
		a.failure = fmt.Sprintf("%s, request %d: %s", a.name, a.requests, wrong)
	}
	return wrong == ""
}

// open opens so many flows and begins to ask.
func open(ctx context.Context, l *lab.Lab, tcp, udp, sctp int) *flows {
	GinkgoHelper()
	f := &flows{}
	add := func(n int, s lab.Service, open func() (flow, error)) {
		for i := range n {
			one, err := open()
			Expect(err).NotTo(HaveOccurred(), "open flow %d of %s", i, s.Name)
			f.all = append(f.all, &asked{flow: one, name: fmt.Sprintf("%s flow %d", s.Name, i)})
		}
	}
	probed := func(s lab.Service) func() (flow, error) {
		return func() (flow, error) {
			r := s.Request()
			r.Timeout, r.SendOnce = patience, true
			one, err := l.Requests.Open(ctx, r)
			return session{one}, err
		}
	}
	add(tcp, lab.Nginx, func() (flow, error) {
		one, err := l.Connect(ctx)
		return page{one}, err
	})
	add(udp, lab.UDP, probed(lab.UDP))
	add(sctp, lab.SCTP, probed(lab.SCTP))
	f.byPods = resentByPods(ctx, l)
	during, stop := context.WithCancel(ctx)
	f.stop = stop
	for i, one := range f.all {
		f.wg.Go(func() { one.run(ctx, during, every*time.Duration(i)/time.Duration(len(f.all)), &f.asking) })
	}
	DeferCleanup(func(ctx context.Context) {
		f.end()
		var closing sync.WaitGroup
		for _, one := range f.all {
			closing.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				one.close(ctx)
			})
		}
		closing.Wait()
	})
	return f
}

// run asks until during ends or an answer is missing, first after so long. It asks
// every second or so: were flows forgotten and made anew in the order in which they
// were first, then round robin could give each the backend that it had.
func (a *asked) run(ctx, during context.Context, first time.Duration, asking *sync.RWMutex) {
	next := time.NewTimer(first)
	defer next.Stop()
	var backend string
	var seen netip.AddrPort
	for {
		select {
		case <-during.Done():
			return
		case <-next.C:
		}
		next.Reset(every/2 + rand.N(every))
		asking.RLock()
		within, cancel := context.WithTimeout(ctx, patience)
		by, saw, err := a.ask(within)
		cancel()
		asking.RUnlock()
		wrong := ""
		switch {
		case err != nil:
			wrong = err.Error()
		case backend == "":
			backend, seen = by, saw
		case by != backend || saw != seen:
			wrong = fmt.Sprintf("answered by %s, which saw %s; before it was %s, which saw %s", by, saw, backend, seen)
		}
		if !a.note(wrong) {
			return
		}
	}
}

// ask tells whether all flows have asked already.
func (f *flows) ask() bool {
	return !slices.ContainsFunc(f.all, func(one *asked) bool { return !one.asks() })
}

// unasked has no flow ask while do runs.
func (f *flows) unasked(do func()) {
	f.asking.Lock()
	defer f.asking.Unlock()
	do()
}

// failures are those of the flows that got no answer, or that of another, until now.
func (f *flows) failures() (all []string) {
	for _, one := range f.all {
		one.mu.Lock()
		if one.failure != "" {
			all = append(all, one.failure)
		}
		one.mu.Unlock()
	}
	return all
}

func (f *flows) end() {
	f.stop()
	f.wg.Wait()
}

// lost ends the asking, and says what was lost.
func (f *flows) lost() (requests int, lost []string) {
	f.end()
	for _, one := range f.all {
		requests += one.requests
		if one.failure != "" {
			lost = append(lost, one.failure)
			continue
		}
		if n, err := one.resent(); err != nil || n > 0 {
			lost = append(lost, fmt.Sprintf("%s: %d segments were sent again, %v", one.name, n, err))
		}
	}
	if n, err := f.byPods(); err != nil || n > 0 {
		lost = append(lost, fmt.Sprintf("the pods of %s: %d segments were sent again, %v", lab.Nginx.Name, n, err))
	}
	return requests, lost
}

// resentByPods returns what counts the segments that pods have sent again from now on, less those that clients say they had
// already (RFC 2883): where the machine is busy, a timer fires before the acknowledgement is read.
func resentByPods(ctx context.Context, l *lab.Lab) func() (int, error) {
	GinkgoHelper()
	count := func() (n int, err error) {
		for _, pod := range l.Pods(lab.Nginx) {
			out, err := l.Node(pod).Run(ctx, "nstat", "-jasz", "TcpRetransSegs", "TcpExtTCPDSACKRecv", "TcpExtTCPDSACKOfoRecv")
			if err != nil {
				return 0, err
			}
			var counted struct {
				Kernel struct{ TcpRetransSegs, TcpExtTCPDSACKRecv, TcpExtTCPDSACKOfoRecv int }
			}
			if err := json.Unmarshal([]byte(out), &counted); err != nil {
				return 0, fmt.Errorf("read nstat of %s: %w", pod, err)
			}
			k := counted.Kernel
			n += k.TcpRetransSegs - k.TcpExtTCPDSACKRecv - k.TcpExtTCPDSACKOfoRecv
		}
		return n, nil
	}
	before, err := count()
	Expect(err).NotTo(HaveOccurred())
	return func() (int, error) {
		now, err := count()
		return now - before, err
	}
}
