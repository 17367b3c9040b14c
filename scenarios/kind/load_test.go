package kind

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/topo/probe"
)

// batch is how many connections one command of the client makes, parallel how
// many of them at once.
const (
	batch    = 250
	parallel = 4
)

// load is what connections came to.
type load struct {
	protocol string
	made     int
	lost     []probe.Failure
	first    string // the nodes when the first was lost
	err      error
}

// String is for reports.
func (l load) String() string {
	said := fmt.Sprintf("%s: %d connections, %d lost\n", l.protocol, l.made, len(l.lost))
	for _, f := range l.lost {
		said += f.Error + "\n"
	}
	return said + l.first
}

// run makes a batch.
func (l *load) run(ctx context.Context, target string, options ...string) {
	said, err := cluster.Client.Run(ctx, append([]string{"weir-topo", "request", l.protocol, target,
		"--count", strconv.Itoa(batch), "--parallel", strconv.Itoa(parallel), "--json"}, options...)...)
	l.made += batch
	if err == nil {
		return
	}
	var result probe.Result
	if json.Unmarshal([]byte(said), &result) != nil || result.Lost() == 0 {
		l.err = err
		return
	}
	if len(l.lost) == 0 {
		l.first = unanswered(ctx)
	}
	l.lost = append(l.lost, result.Failures...)
}

// beginLoad makes connection after connection from the client until end is called
// and at least so many were made. None may be lost.
func beginLoad(ctx context.Context, target string, least int) (end func()) {
	return noneLost(beginLoadOf(ctx, "http", target, least))
}

// beginLoadOf does so in a protocol of weir-topo request, with its options, and says what came of it.
func beginLoadOf(ctx context.Context, protocol, target string, least int, options ...string) (end func() load) {
	stop, done := make(chan struct{}), make(chan load, 1)
	go func() {
		l := load{protocol: protocol}
		defer GinkgoRecover()
		defer func() { done <- l }()
		for l.err == nil && (l.made < least || !stopped(stop)) {
			l.run(ctx, target, options...)
		}
	}()
	return func() load {
		GinkgoHelper()
		close(stop)
		l := <-done
		AddReportEntry("load", l.String())
		Expect(l.err).NotTo(HaveOccurred())
		return l
	}
}

// noneLost ends loads and expects nothing to be lost.
func noneLost(ends ...func() load) (end func()) {
	return func() {
		GinkgoHelper()
		for _, end := range ends {
			l := end()
			Expect(l.lost).To(BeEmpty(), l.String())
		}
	}
}

// beginLoads has the client make connections to web, and ask the article's services over UDP and SCTP, these with options.
func beginLoads(ctx context.Context, web string, options ...string) (ends []func() load) {
	return []func() load{
		beginLoadOf(ctx, "http", web, 1000),
		beginLoadOf(ctx, "udp", "123.123.123.1:55003", 1000, options...),
		beginLoadOf(ctx, "sctp", "123.123.123.1:55004", 1000, options...),
	}
}

// unanswered says where requests without an answer may have gone: what the load balancers have dropped, and their flows
// that are no connection or of UDP, kube-proxy's choices in conntrack that are none either, the pods it knows, and those there are.
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
			return strings.Contains(line, "closing") || strings.Contains(line, "| udp ")
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
