package kind

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// batch is how many connections one command of the client makes, parallel how
// many of them at once.
const (
	batch    = 250
	parallel = 4
)

var lostOf = regexp.MustCompile(`(\d+) lost in`)

// load is what connections came to.
type load struct {
	made, lost int
	first      string // what the client said of the first that was lost, and the nodes
	err        error
}

// String is for reports.
func (l load) String() string {
	return fmt.Sprintf("%d connections, %d lost\n%s", l.made, l.lost, l.first)
}

// run makes a batch.
func (l *load) run(ctx context.Context, target string) {
	said, err := cluster.Client.Run(ctx, "weir-topo", "request", "http", target,
		"--count", strconv.Itoa(batch), "--parallel", strconv.Itoa(parallel))
	l.made += batch
	if err == nil {
		return
	}
	lost := lostOf.FindStringSubmatch(said)
	if lost == nil {
		l.err = err
		return
	}
	n, err := strconv.Atoi(lost[1])
	if l.lost == 0 {
		l.first = said + unanswered(ctx)
	}
	l.lost, l.err = l.lost+n, err
}

// beginLoad makes connection after connection from the client until end is called
// and at least so many were made.
func beginLoad(ctx context.Context, target string, least int) (end func()) {
	stop, done := make(chan struct{}), make(chan load, 1)
	go func() {
		var l load
		for l.err == nil && (l.made < least || !stopped(stop)) {
			l.run(ctx, target)
		}
		done <- l
	}()
	return func() {
		GinkgoHelper()
		close(stop)
		l := <-done
		AddReportEntry("load", l.String())
		Expect(l.err).NotTo(HaveOccurred())
		Expect(l.lost).To(BeZero(), l.String())
	}
}

// unanswered says which requests the nodes have sent on without an answer: kube-proxy's choice of a pod stands in
// conntrack, for each SYN of a connection. Then come the pods there are, and those that kube-proxy knows.
func unanswered(ctx context.Context) string {
	said := ""
	for _, m := range slices.Concat(cluster.Masters, cluster.Workers) {
		said += "\n" + m.Name + ":\n"
		for _, command := range []string{
			"date --iso-8601=ns",
			"conntrack -L -p tcp --state SYN_SENT",
			"iptables-save -t nat | grep -- --to-destination | grep :8080",
		} {
			out, err := m.Run(ctx, "sh", "-c", command)
			if err != nil {
				out += err.Error() + "\n"
			}
			said += out
		}
	}
	out, err := cluster.Kubectl(ctx, "get", "pods", "-o", "wide")
	if err != nil {
		out += err.Error()
	}
	return said + "\n" + out
}

func stopped(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}
