package flood

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/harness/onelb"
	"github.com/weir-lb/weir/topo/probe"
)

const (
	// transfers are connections that move pieces both ways all the time.
	transfers = 100
	piece     = 8 << 10                // bytes, there and back
	pause     = 200 * time.Millisecond // between pieces of one transfer
	// connectors open one new connection after the other, each for one request.
	connectors = 8
	between    = 25 * time.Millisecond // of two connections of one connector
	// patience is for a piece or a connection: SYNs and segments that a full
	// queue on the way has dropped come again after 1, 3 and 7 s.
	patience = 10 * time.Second
)

// clients are those who want service: transfers that stand, and new connections.
type clients struct {
	standing []*probe.Session
	stop     context.CancelFunc
	work     sync.WaitGroup

	mu      sync.Mutex
	bytes   int
	broken  []error // of transfers
	opened  int
	refused []error // of new connections
}

// open opens so many connections, one after the other.
func open(ctx context.Context, l *onelb.Lab, r probe.Request, n int) []*probe.Session {
	GinkgoHelper()
	all := make([]*probe.Session, 0, n)
	for i := range n {
		s, err := l.Requests.Open(ctx, r)
		Expect(err).NotTo(HaveOccurred(), "open connection %d", i)
		all = append(all, s)
	}
	return all
}

// work opens the transfers, and begins.
func work(ctx context.Context, l *onelb.Lab, r probe.Request) *clients {
	GinkgoHelper()
	r.Timeout = patience
	standing := r
	standing.Size = piece
	c := &clients{standing: open(ctx, l, standing, transfers)}
	during, stop := context.WithCancel(ctx)
	c.stop = stop
	DeferCleanup(c.end)
	for _, s := range c.standing {
		c.work.Go(func() { c.transfer(ctx, during, s) })
	}
	for range connectors {
		c.work.Go(func() {
			every(during, between, func() bool {
				_, err := l.Requests.Do(ctx, r)
				c.mu.Lock()
				defer c.mu.Unlock()
				c.opened++
				if err != nil {
					c.refused = append(c.refused, err)
				}
				return true
			})
		})
	}
	return c
}

// transfer moves pieces over one connection until during ends, then closes it
// and waits for the server's end.
func (c *clients) transfer(ctx, during context.Context, s *probe.Session) {
	var failure error
	moved := 0
	every(during, pause, func() bool {
		_, failure = s.Ask(ctx)
		moved += piece
		return failure == nil
	})
	closing := s.Close(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes += moved
	if err := errors.Join(failure, closing); err != nil {
		c.broken = append(c.broken, err)
	}
}

// every calls do until it returns false or ctx ends.
func every(ctx context.Context, interval time.Duration, do func() bool) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for do() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// end lets all finish what they are at.
func (c *clients) end() {
	c.stop()
	c.work.Wait()
}

// String is what they have done, and the first failures.
func (c *clients) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	said := fmt.Sprintf("%d transfers moved %d bytes, %d broke; %d connections were opened, %d failed",
		len(c.standing), c.bytes, len(c.broken), c.opened, len(c.refused))
	for _, failed := range [][]error{c.broken, c.refused} {
		if len(failed) > 0 {
			said += "\nfirst failure: " + failed[0].Error()
		}
	}
	return said
}
