package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
)

// looked is for how long nodes are watched that must not lose anything: many
// times what a change takes.
const looked = 3 * time.Second

// backoff is how long client-go's watches may rest after an apiserver has failed
// them several times: up to 30 s and as much again by chance.
const backoff = 70 * time.Second

var _ = Describe("The apiserver", Ordered, func() {
	var l *lab
	a, b := ours("a", 80), ours("b", 81)
	// A controller keeps its lease for as long as an apiserver takes to start on a machine that others have too.
	BeforeAll(func(ctx SpecContext) { l = upWith(ctx, map[string]string{"lease": "1m"}) })
	BeforeEach(func(ctx SpecContext) {
		l.apply(ctx, a.manifest(), a.on("pod1"), b.manifest(), b.on("pod1"))
		l.expectServed(ctx, "203.0.113.1:80/tcp pod1", "203.0.113.1:81/tcp pod1")
	})
	unchanged := func(ctx context.Context) {
		GinkgoHelper()
		for _, lb := range []string{"lb1", "lb2"} {
			harness.Holds(ctx, looked/2, func(ctx context.Context) ([]string, error) { return l.served(ctx, lb) }).
				Should(HaveExactElements("203.0.113.1:80/tcp pod1", "203.0.113.1:81/tcp pod1"), lb)
		}
	}

	It("that hangs for a while costs nothing, and what changed meanwhile is caught up", func(ctx SpecContext) {
		server := l.Node("api").Process("kube-apiserver")
		Expect(server.Signal(unix.SIGSTOP)).To(Succeed())
		DeferCleanup(server.Signal, unix.SIGCONT)
		unchanged(ctx)
		Expect(server.Signal(unix.SIGCONT)).To(Succeed())
		l.apply(ctx, b.on("pod2"))
		l.expectServed(ctx, "203.0.113.1:80/tcp pod1", "203.0.113.1:81/tcp pod2")
	})

	It("that restarts has the controller miss nothing: a watch that broke off begins anew", func(ctx SpecContext) {
		Expect(l.Node("api").Process("kube-apiserver").Stop(ctx)).To(Succeed())
		unchanged(ctx)
		Expect(l.Node("api").Process("kube-apiserver").Start(ctx)).To(Succeed())
		l.apiserverReady(ctx)
		harness.Soon(ctx, func(ctx context.Context) error { return l.kube.apply(ctx, b.on("pod2")) }).Should(Succeed())
		Expect(l.kube.delete(ctx, servicePath("a"))).To(Succeed())
		l.expectServed(ctx, "203.0.113.1:81/tcp pod2")
		l.expectGone(ctx, "a")
	})

	It("that has forgotten what happened while the link to it was down is listed anew, and no other Service is touched", func(ctx SpecContext) {
		c, d := ours("c", 82), ours("d", 83)
		l.remove("c", "d")
		l.apply(ctx, c.manifest(), c.on("pod1"), d.manifest(), d.on("pod1"))
		l.expectServed(ctx, "203.0.113.1:80/tcp pod1", "203.0.113.1:81/tcp pod1", "203.0.113.1:82/tcp pod1", "203.0.113.1:83/tcp pod1")
		for _, name := range []string{"b", "c", "d"} {
			l.expectService(ctx, name, conditionOf("Programmed"), Equal("True/Programmed")) // the last to be told
		}
		before, err := l.service(ctx, "b")
		Expect(err).NotTo(HaveOccurred())
		kept := l.watchServed(ctx, "203.0.113.1:81/tcp")
		known, asked := l.revision(ctx), len(l.asked())
		toServer := l.Node("ctl1").Link("eth1")
		Expect(toServer.Down()).To(Succeed())
		DeferCleanup(toServer.Up)

		l.apply(ctx, a.on("pod2"))
		for _, w := range []web{c, d} {
			Expect(l.kube.delete(ctx, servicePath(w.name))).To(Succeed())
			Expect(l.kube.delete(ctx, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/"+w.name+"-x")).To(Succeed())
		}
		// Of d the controller hears nothing more: somebody takes its finalizer.
		Expect(l.kube.patch(ctx, servicePath("d"), `{"metadata": {"finalizers": null}}`)).To(Succeed())
		l.expectGone(ctx, "d")
		l.forget(ctx, l.revision(ctx))
		harness.Soon(ctx, func(ctx context.Context) (string, error) {
			return l.Node("api").Run(ctx, "ss", "-Htn", "dst", "198.51.100.21")
		}).Should(BeEmpty(), "what the kernel still has to send of the watches that were cut")
		Expect(l.watchFrom(ctx, known)).To(Equal(http.StatusGone))
		for _, lb := range []string{"lb1", "lb2"} {
			Expect(l.served(ctx, lb)).To(HaveLen(4), "%s, whose controller has heard of nothing", lb)
		}

		Expect(toServer.Up()).To(Succeed())
		for _, lb := range []string{"lb1", "lb2"} {
			Eventually(ctx, func(ctx context.Context) ([]string, error) { return l.served(ctx, lb) }).
				WithTimeout(backoff).WithPolling(100*time.Millisecond).
				Should(HaveExactElements("203.0.113.1:80/tcp pod2", "203.0.113.1:81/tcp pod1"), lb)
		}
		l.expectGone(ctx, "c")
		for _, resource := range []string{"services", "endpointslices"} {
			of := HaveField("ObjectRef.Resource", resource)
			harness.Soon(ctx, func(context.Context) []request { return l.asked()[asked:] }).Should(SatisfyAll(
				ContainElement(SatisfyAll(of, HaveField("RequestURI", ContainSubstring("sendInitialEvents=true")))),
				ContainElement(SatisfyAll(of, HaveField("Verb", "get")))), "%s anew, and by name what is missing", resource)
		}
		Expect(kept()).To(BeEmpty())
		after, err := l.service(ctx, "b")
		Expect(err).NotTo(HaveOccurred())
		Expect(after.Metadata.ResourceVersion).To(Equal(before.Metadata.ResourceVersion))
	})

	Context("that comes back with nothing in it", Ordered, func() {
		var wiped wipe
		BeforeEach(func() { wiped = wipe{lab: l} })

		It("takes nothing from the nodes, whose controller still runs", func(ctx SpecContext) {
			wiped.begin(ctx)
			Eventually(ctx, func(ctx context.Context) (int, error) {
				s, err := l.controllers["ctl1"].Controller(ctx)
				return len(s.Problems), err
			}).WithTimeout(backoff).WithPolling(100*time.Millisecond).
				Should(BeNumerically(">", 0), "the controller has to see that objects are missing")
			unchanged(ctx)
			s, err := l.controllers["ctl1"].Controller(ctx)
			Expect(err).NotTo(HaveOccurred())
			Expect(s.Services).To(HaveLen(2))
			wiped.end(ctx)
			l.apply(ctx, b.on("pod2"))
			Eventually(ctx, func(ctx context.Context) ([]string, error) { return l.served(ctx, "lb1") }).
				WithTimeout(backoff).WithPolling(100 * time.Millisecond).
				Should(HaveExactElements("203.0.113.1:80/tcp pod1", "203.0.113.1:81/tcp pod2"))
			l.expectService(ctx, "a", addressOf, Equal("203.0.113.1"))
		})

		It("takes nothing from them either where a fresh controller finds it so", func(ctx SpecContext) {
			var memory struct {
				Data map[string]string `json:"data"`
			}
			Expect(l.kube.get(ctx, "/api/v1/namespaces/weir-system/configmaps/kube-weir", &memory)).To(Succeed())
			Expect(l.process("ctl1").Kill(ctx)).To(Succeed())
			wiped.begin(ctx)
			// Half restored: who leads, where weir runs, and what the last leader knew.
			l.settle(ctx)
			l.apply(ctx, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kube-weir, namespace: weir-system}\ndata: {memory.json: '"+
				memory.Data["memory.json"]+"'}")
			Expect(l.process("ctl1").Start(ctx)).To(Succeed())
			harness.Soon(ctx, func(ctx context.Context) (string, error) {
				s, err := l.controllers["ctl1"].Controller(ctx)
				return s.Leader, err
			}).Should(Equal("ctl1"))
			unchanged(ctx)
			Expect(l.controllers["ctl1"].Ready(ctx)).To(MatchError(ContainSubstring("nothing is decided yet")))
			Expect(l.process("ctl1").Kill(ctx)).To(Succeed())
			wiped.end(ctx)
			Expect(l.process("ctl1").Start(ctx)).To(Succeed())
			l.decides(ctx, "ctl1")
			l.inSync(ctx, "ctl1")
			unchanged(ctx)
		})
	})
})

// watchServed looks at both LB nodes again and again. What it returns ends that, and lists when one of them did not serve
// what it has to, with its one backend.
func (l *lab) watchServed(ctx context.Context, frontend string) (lapses func() []string) {
	watching, stop := context.WithCancel(ctx)
	DeferCleanup(stop)
	seen := make(chan []string, 1)
	go func() {
		var lapses []string
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for watching.Err() == nil {
			for _, lb := range []string{"lb1", "lb2"} {
				services, err := l.Weir(lb).Services(ctx)
				if !slices.ContainsFunc(services, func(s v1.ServiceStatus) bool {
					return s.Frontend.String() == frontend && s.Programmed && len(s.Backends) == 1
				}) {
					lapses = append(lapses, fmt.Sprintf("%s at %s: %+v, %v", lb, time.Now().Format(time.TimeOnly), services, err))
				}
			}
			<-tick.C
		}
		seen <- lapses
	}()
	return func() []string {
		stop()
		return <-seen
	}
}

// revision is where the cluster's history has come to.
func (l *lab) revision(ctx context.Context) string {
	GinkgoHelper()
	var list struct {
		Metadata struct{ ResourceVersion string }
	}
	Expect(l.kube.get(ctx, "/api/v1/services", &list)).To(Succeed())
	return list.Metadata.ResourceVersion
}

// forget has etcd lose the history before a revision, as kube-apiserver has it do every five minutes, and kube-apiserver,
// which keeps some of it in memory, start anew.
func (l *lab) forget(ctx context.Context, revision string) {
	GinkgoHelper()
	transport := &http.Transport{DialContext: l.Node("api").Dial}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1:2379/v3/kv/compaction",
		strings.NewReader(`{"revision": "`+revision+`", "physical": true}`))
	Expect(err).NotTo(HaveOccurred())
	answer, err := (&http.Client{Transport: transport}).Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer answer.Body.Close()
	Expect(answer).To(HaveHTTPStatus(http.StatusOK))
	server := l.Node("api").Process("kube-apiserver")
	Expect(server.Kill(ctx)).To(Succeed())
	Expect(server.Start(ctx)).To(Succeed())
	l.apiserverReady(ctx)
}

// watchFrom is the code with which the apiserver refuses to watch Services from a revision on.
func (l *lab) watchFrom(ctx context.Context, revision string) (int, error) {
	var refusal struct {
		Object struct{ Code int }
	}
	err := l.kube.get(ctx, "/api/v1/services?watch=true&timeoutSeconds=1&resourceVersion="+revision, &refusal)
	if r := (*refused)(nil); errors.As(err, &r) {
		return r.code, nil
	}
	return refusal.Object.Code, err
}

// wipe is an etcd that has lost its data, until they are put back.
type wipe struct{ lab *lab }

func (w wipe) data() string { return filepath.Join(w.lab.Node("api").Dir(), "etcd") }

func (w wipe) restart(ctx context.Context, meanwhile func() error) {
	GinkgoHelper()
	etcd, server := w.lab.Node("api").Process("etcd"), w.lab.Node("api").Process("kube-apiserver")
	Expect(server.Kill(ctx)).To(Succeed())
	Expect(etcd.Stop(ctx)).To(Succeed())
	Expect(meanwhile()).To(Succeed())
	Expect(etcd.Start(ctx)).To(Succeed())
	Expect(server.Start(ctx)).To(Succeed())
	w.lab.apiserverReady(ctx)
}

// begin takes the data away. Of an empty apiserver the account needs its rights
// to see that it is one.
func (w wipe) begin(ctx context.Context) {
	GinkgoHelper()
	w.restart(ctx, func() error { return os.Rename(w.data(), w.data()+".kept") })
	harness.Soon(ctx, func(ctx context.Context) error { return w.lab.kube.apply(ctx, account()...) }).Should(Succeed())
}

// end puts them back.
func (w wipe) end(ctx context.Context) {
	GinkgoHelper()
	w.restart(ctx, func() error {
		if err := os.RemoveAll(w.data()); err != nil {
			return err
		}
		return os.Rename(w.data()+".kept", w.data())
	})
}
