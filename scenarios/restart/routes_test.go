package restart

import (
	"bytes"
	"context"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/article/lab"
)

// routeWatch is every change of the VIP's routes on client and workers.
type routeWatch struct {
	stop context.CancelFunc
	ends []func() string
}

// watchRoutes begins to listen to the kernels.
func watchRoutes(ctx context.Context, l *lab.Lab) *routeWatch {
	GinkgoHelper()
	l.ExpectRoutes(ctx, lab.Master1)
	during, stop := context.WithCancel(ctx)
	w := &routeWatch{stop: stop}
	DeferCleanup(stop)
	for _, name := range append([]string{"client"}, lab.Workers...) {
		n := l.Node(name)
		cmd, err := n.Command(during, "ip", "monitor", "route")
		Expect(err).NotTo(HaveOccurred())
		var out bytes.Buffer
		cmd.Stdout = &out
		Expect(n.Start(cmd)).To(Succeed())
		w.ends = append(w.ends, func() string {
			_ = cmd.Wait() // it was killed
			return changesOf(name, out.String())
		})
	}
	return w
}

func changesOf(node, monitored string) string {
	changes := ""
	for line := range strings.Lines(monitored) {
		if strings.Contains(line, lab.VIP.String()) {
			changes += node + ": " + line
		}
	}
	return changes
}

// changes ends the listening and returns what was heard.
func (w *routeWatch) changes() string {
	w.stop()
	all := ""
	for _, end := range w.ends {
		all += end()
	}
	return all
}
