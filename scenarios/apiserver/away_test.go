package apiserver

import (
	"context"
	"os"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

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
	BeforeAll(func(ctx SpecContext) { l = up(ctx) })
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

	Context("that comes back with nothing in it", Ordered, func() {
		var wiped wipe
		BeforeEach(func() { wiped = wipe{lab: l} })

		It("takes nothing from the nodes, whose controller still runs", func(ctx SpecContext) {
			wiped.begin(ctx)
			harness.Soon(ctx, func(ctx context.Context) (int, error) {
				s, err := l.controllers["ctl1"].Controller(ctx)
				return len(s.Problems), err
			}).Should(BeNumerically(">", 0), "the controller has to see that objects are missing")
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
