package failover

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/topo/spec"
)

const (
	// connections leave one backend of two without any once in half a million runs.
	connections = 20
	// patience is for one answer, once routes have moved: TCP may have to send again.
	patience = 5 * time.Second
)

// byHash has the article's HTTP service choose backends by hash.
func byHash(p *spec.Page) {
	const mode = `loxilb.io/lbmode: "fullnat"`
	manifest := p.ManifestFiles[lab.Nginx.Manifest]
	Expect(bytes.Count(manifest, []byte(mode))).To(Equal(1), "annotations of %s", lab.Nginx.Manifest)
	p.ManifestFiles[lab.Nginx.Manifest] = bytes.Replace(manifest, []byte(mode), []byte(mode+"\n    loxilb.io/epselect: hash"), 1)
}

// standing is a connection that stays open, who answers on it and whom that sees.
type standing struct {
	*lab.Connection

	backend string
	seen    netip.AddrPort
}

// connect opens connections to both pods of the HTTP service, and asks on each.
func connect(ctx context.Context, l *lab.Lab) []*standing {
	GinkgoHelper()
	var all []*standing
	backends := map[string]int{}
	for range connections {
		c, err := l.Connect(ctx)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { _ = c.Close() }) // its node may be cut off
		s := &standing{Connection: c}
		s.backend, s.seen, err = s.ask(ctx)
		Expect(err).NotTo(HaveOccurred())
		backends[s.backend]++
		all = append(all, s)
	}
	Expect(backends).To(HaveLen(2), "connections to each backend")
	return all
}

func (s *standing) ask(ctx context.Context) (backend string, seen netip.AddrPort, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.Ask(ctx)
}

// asked asks on all connections at once, and says which one is not what it was.
func asked(ctx context.Context, all []*standing) []string {
	var mu sync.Mutex
	var wrong []string
	var wg sync.WaitGroup
	for i, s := range all {
		wg.Go(func() {
			backend, seen, err := s.ask(ctx)
			if err == nil && backend == s.backend && seen == s.seen {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			wrong = append(wrong, fmt.Sprintf("connection %d: answered by %s, which saw %s (%v); before it was %s, which saw %s",
				i, backend, seen, err, s.backend, s.seen))
		})
	}
	wg.Wait()
	return wrong
}
