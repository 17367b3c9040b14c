package restart

import (
	"context"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"

	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/node"
)

// The metrics of routes by which a routeWatch shows that it listens, to the VIP and less wanted than any other.
const (
	firstMark = "4000000001"
	lastMark  = "4000000002"
)

// routeWatch is every change of the VIP's routes on client and workers.
type routeWatch struct {
	stop  context.CancelFunc
	heard map[*node.Node]*gbytes.Buffer
}

// watchRoutes begins to listen to the kernels.
func watchRoutes(ctx context.Context, l *lab.Lab) *routeWatch {
	GinkgoHelper()
	l.ExpectRoutes(ctx, lab.Master1)
	during, stop := context.WithCancel(ctx)
	w := &routeWatch{stop: stop, heard: map[*node.Node]*gbytes.Buffer{}}
	DeferCleanup(stop)
	for _, name := range append([]string{"client"}, lab.Workers...) {
		n := l.Node(name)
		cmd, err := n.Command(during, "ip", "monitor", "route")
		Expect(err).NotTo(HaveOccurred())
		w.heard[n] = gbytes.NewBuffer()
		cmd.Stdout = w.heard[n]
		Expect(n.Start(cmd)).To(Succeed())
		go func() { _ = cmd.Wait() }() // until it is killed
	}
	w.expectToHear(ctx, firstMark)
	return w
}

// expectToHear has a route come and go on each node, until it is heard of.
func (w *routeWatch) expectToHear(ctx context.Context, mark string) {
	GinkgoHelper()
	for n, heard := range w.heard {
		harness.Soon(ctx, func(g Gomega) {
			for _, do := range []string{"add", "del"} {
				_, err := n.Run(ctx, "ip", "route", do, "blackhole", lab.VIP.String(), "metric", mark)
				g.Expect(err).NotTo(HaveOccurred())
			}
			g.Expect(string(heard.Contents())).To(ContainSubstring("metric " + mark))
		}).Should(Succeed())
	}
}

// changes ends the listening and returns what was heard, if all listened to the end.
func (w *routeWatch) changes(ctx context.Context) string {
	GinkgoHelper()
	w.expectToHear(ctx, lastMark)
	w.stop()
	all := ""
	for n, heard := range w.heard {
		all += changesOf(n.Name, string(heard.Contents()))
	}
	return all
}

func changesOf(node, monitored string) string {
	changes := ""
	for line := range strings.Lines(monitored) {
		if strings.Contains(line, lab.VIP.String()) && !strings.Contains(line, firstMark) && !strings.Contains(line, lastMark) {
			changes += fmt.Sprintf("%s: %s", node, line)
		}
	}
	return changes
}
