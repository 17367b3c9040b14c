package kind

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

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
		defer GinkgoRecover()
		defer func() { done <- l }()
		for l.err == nil && (l.made < least || !stopped(stop)) {
			l.run(ctx, target)
		}
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

// unanswered says where requests without an answer may have gone: what the load balancers have dropped, and their flows
// that are no connection, kube-proxy's choices in conntrack that are none either, the pods it knows, and those there are.
func unanswered(ctx context.Context) string {
	said := ""
	note := func(title, out string, err error) {
		said += "\n" + title + "\n" + out
		if err != nil {
			said += err.Error() + "\n"
		}
	}
	for _, m := range cluster.Masters {
		name, err := lookUpPod(ctx, "loxilb-app", m)
		if err != nil {
			note(m.Name, "", err)
			continue
		}
		weirctl := []string{"-n", "kube-system", "exec", name, "--", "weirctl", "get"}
		drops, err := cluster.Kubectl(ctx, append(weirctl, "drops")...)
		note(m.Name+": drops", drops, err)
		flows, err := cluster.Kubectl(ctx, append(weirctl, "ct")...)
		note(m.Name+": flows", strings.Join(slices.DeleteFunc(strings.SplitAfter(flows, "\n"), func(line string) bool {
			return strings.Contains(line, "closing")
		}), ""), err)
	}
	for _, m := range slices.Concat(cluster.Masters, cluster.Workers) {
		for _, command := range []string{
			"date --iso-8601=ns",
			"conntrack -L -p tcp | grep -e dport=55010 -e dport=3.... | grep -v -e TIME_WAIT -e ESTABLISHED",
			"iptables-save -t nat | grep -e :8080 -e 'default/web'",
		} {
			out, err := m.Run(ctx, "sh", "-c", command)
			note(m.Name+": "+command, out, err)
		}
	}
	out, err := cluster.Kubectl(ctx, "get", "pods", "-o", "wide")
	note("pods", out, err)
	return said
}

func stopped(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}
