package apiserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/api/client"
	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/node"
	"github.com/weir-lb/weir/topo/probe"
)

// lab is the running page with its cluster.
type lab struct {
	*harness.Scenario
	kube        *kube
	requests    map[string]*probe.Client // by the LB node that they go by
	controllers map[string]*client.Client
}

// up brings the page up with the cluster's Nodes and instances of weir, and
// without Services.
func up(ctx context.Context) *lab { return upWith(ctx, nil) }

// upWith is up with some of the page's vars set.
func upWith(ctx context.Context, vars map[string]string) *lab {
	GinkgoHelper()
	programs := os.Getenv("KUBEBUILDER_ASSETS")
	if programs == "" {
		programs, _ = filepath.Abs("../../build/kube")
	}
	if _, err := os.Stat(filepath.Join(programs, "kube-apiserver")); err != nil {
		Fail("no apiserver to run against: " + err.Error() + "; run ci/kube.sh etcd kube-apiserver, or set KUBEBUILDER_ASSETS to a folder that has both")
	}
	l := &lab{controllers: map[string]*client.Client{}}
	all := map[string]string{"programs": programs}
	maps.Copy(all, vars)
	l.Scenario = harness.Up(ctx, "page.yaml", harness.Options{Vars: all})
	var err error
	DeferCleanup(l.collectUsed)
	l.kube, err = newKube(l.Node("api"))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(l.kube.close)
	l.requests = map[string]*probe.Client{}
	for lb, name := range map[string]string{"lb1": "client", "lb2": "client2"} {
		l.requests[lb] = &probe.Client{Enter: l.Node(name).Do}
		DeferCleanup(l.requests[lb].Close)
	}
	for _, name := range []string{"ctl1", "ctl2"} {
		l.controllers[name], err = client.New(client.Options{Node: name, Socket: filepath.Join(l.Node(name).Dir(), "kube-weir.sock")})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(l.controllers[name].Close)
	}
	// One is enough for most.
	Expect(l.process("ctl2").Stop(ctx)).To(Succeed())
	l.settle(ctx)
	return l
}

// settle waits for the apiserver and writes what every spec needs.
func (l *lab) settle(ctx context.Context) {
	GinkgoHelper()
	l.apiserverReady(ctx)
	harness.Soon(ctx, func(ctx context.Context) error { return l.kube.apply(ctx, account()...) }).Should(Succeed())
	for _, m := range []struct{ name, address string }{
		{"lb1", "198.51.100.11"}, {"lb2", "198.51.100.12"}, {"peer", "198.51.100.31"}, {"pod1", podAddresses["pod1"]}, {"pod2", podAddresses["pod2"]},
	} {
		l.apply(ctx, machine(m.name, m.address))
	}
	l.apply(ctx, instances)
}

func (l *lab) apiserverReady(ctx context.Context) {
	GinkgoHelper()
	Eventually(ctx, func(ctx context.Context) error {
		return l.kube.do(ctx, http.MethodGet, "/readyz", "", nil, nil)
	}).WithTimeout(time.Minute).WithPolling(100 * time.Millisecond).Should(Succeed())
}

func (l *lab) process(controller string) *node.Process {
	return l.Node(controller).Process("kube-weir")
}

func (l *lab) apply(ctx context.Context, manifests ...string) {
	GinkgoHelper()
	Expect(l.kube.apply(ctx, manifests...)).To(Succeed())
}

func servicePath(name string) string { return "/api/v1/namespaces/default/services/" + name }

// service reads a Service of namespace default.
func (l *lab) service(ctx context.Context, name string) (object, error) {
	var o object
	err := l.kube.get(ctx, servicePath(name), &o)
	return o, err
}

// expectService expects something of a Service soon.
func (l *lab) expectService(ctx context.Context, name string, read func(object) any, want OmegaMatcher) {
	GinkgoHelper()
	harness.Soon(ctx, func(ctx context.Context) (any, error) {
		o, err := l.service(ctx, name)
		return read(o), err
	}).Should(want, "service %s", name)
}

func addressOf(o object) any    { return o.address() }
func finalizersOf(o object) any { return o.Metadata.Finalizers }

func conditionOf(name string) func(object) any {
	return func(o object) any { return o.condition(name) }
}

func messageOf(name string) func(object) any {
	return func(o object) any {
		for _, c := range o.Status.Conditions {
			if c.Type == "weir-lb.io/"+name {
				return c.Message
			}
		}
		return ""
	}
}

// expectGone expects a Service not to exist soon.
func (l *lab) expectGone(ctx context.Context, name string) {
	GinkgoHelper()
	harness.Soon(ctx, func(ctx context.Context) (int, error) {
		_, err := l.service(ctx, name)
		if r := (*refused)(nil); errors.As(err, &r) {
			return r.code, nil
		}
		return 0, err
	}).Should(Equal(http.StatusNotFound), "service %s", name)
}

// remove deletes Services of a spec and waits until they are gone.
func (l *lab) remove(names ...string) {
	GinkgoHelper()
	DeferCleanup(func(ctx context.Context) {
		for _, name := range names {
			if err := l.kube.delete(ctx, servicePath(name)); err != nil {
				continue // it is gone already
			}
		}
		for _, name := range names {
			l.expectGone(ctx, name)
		}
	})
}

// served prints what a node has in its maps: "203.0.113.1:80/tcp pod1,pod2".
func (l *lab) served(ctx context.Context, node string) ([]string, error) {
	services, err := l.Weir(node).Services(ctx)
	if err != nil {
		return nil, err
	}
	out := []string{}
	for _, s := range services {
		if !s.Programmed {
			return nil, fmt.Errorf("%s is not programmed: %v", s.Frontend, s.Conditions)
		}
		var pods []string
		for _, b := range s.Backends {
			pods = append(pods, podNamed(b.Address))
		}
		out = append(out, strings.TrimSpace(s.Frontend.String()+" "+strings.Join(pods, ",")))
	}
	return out, nil
}

func podNamed(a netip.Addr) string {
	for name, address := range podAddresses {
		if address == a.String() {
			return name
		}
	}
	return a.String()
}

// expectServed expects both LB nodes to serve exactly this soon.
func (l *lab) expectServed(ctx context.Context, want ...string) {
	GinkgoHelper()
	slices.Sort(want)
	for _, lb := range []string{"lb1", "lb2"} {
		harness.Soon(ctx, func(ctx context.Context) ([]string, error) { return l.served(ctx, lb) }).Should(HaveExactElements(elements(want)...), lb)
	}
}

func elements(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

// event is what a spec reads of an Event.
type event struct {
	Reason, Type string
	Count        int
}

func (l *lab) events(ctx context.Context, service string) ([]event, error) {
	var list struct{ Items []event }
	err := l.kube.get(ctx, "/api/v1/namespaces/default/events?fieldSelector=involvedObject.kind=Service,involvedObject.name="+service, &list)
	return list.Items, err
}

// reasons lists the events of a Service.
func (l *lab) reasons(ctx context.Context, name string) ([]string, error) {
	events, err := l.events(ctx, name)
	out := []string{}
	for _, e := range events {
		out = append(out, e.Type+" "+e.Reason)
	}
	return out, err
}

// told counts the events of a Service, repetitions too.
func (l *lab) told(ctx context.Context, name string) (map[string]int, error) {
	events, err := l.events(ctx, name)
	out := map[string]int{}
	for _, e := range events {
		out[e.Type+" "+e.Reason] += max(1, e.Count)
	}
	return out, err
}

// answers is which pod answers requests to an address of the pool, by either LB node.
func (l *lab) answers(ctx context.Context, at string) (string, error) {
	var pods []string
	for _, lb := range []string{"lb1", "lb2"} {
		pod, err := l.answersBy(ctx, lb, at)
		if err != nil {
			return "", fmt.Errorf("by %s: %w", lb, err)
		}
		pods = append(pods, pod)
	}
	if pods[0] != pods[1] {
		return fmt.Sprintf("%s by lb1, %s by lb2", pods[0], pods[1]), nil
	}
	return pods[0], nil
}

// answersBy is which pod answers a request that goes by one LB node.
func (l *lab) answersBy(ctx context.Context, lb, at string) (string, error) {
	a, err := l.requests[lb].Do(ctx, probe.Request{Protocol: probe.TCP, Target: netip.MustParseAddrPort(at), Timeout: time.Second})
	return a.Backend, err
}

// restart ends a controller with SIGKILL, which gives no lease back, and starts
// it again under its name.
func (l *lab) restart(ctx context.Context, name string, meanwhile func()) {
	GinkgoHelper()
	Expect(l.process(name).Kill(ctx)).To(Succeed())
	meanwhile()
	Expect(l.process(name).Start(ctx)).To(Succeed())
	l.decides(ctx, name)
}

// decides waits until a controller leads and has decided.
func (l *lab) decides(ctx context.Context, name string) {
	GinkgoHelper()
	Eventually(ctx, func(ctx context.Context) (string, error) {
		s, err := l.controllers[name].Controller(ctx)
		if err != nil || len(s.Nodes) == 0 {
			return "", err
		}
		return s.Leader, nil
	}).WithTimeout(time.Minute).WithPolling(50 * time.Millisecond).Should(Equal(name))
}

// inSync expects all nodes to have what was decided.
func (l *lab) inSync(ctx context.Context, name string) {
	GinkgoHelper()
	harness.Soon(ctx, func(ctx context.Context) (string, error) {
		s, err := l.controllers[name].Controller(ctx)
		var late []string
		for _, n := range s.Nodes {
			if n.State != v1.PushInSync {
				late = append(late, fmt.Sprintf("%s is %s: %s", n.Name, n.State, n.LastError))
			}
		}
		return strings.Join(late, "; "), err
	}).Should(BeEmpty())
}
