package badinput

import (
	"context"
	"encoding/json"
	"net/netip"
	"regexp"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/endpoints/cluster"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/probe"
)

// wrong is a service that cannot be served as it is written.
type wrong struct {
	what    string
	service cluster.Service
	// type and reason of the condition, and what the message has to say.
	condition, reason, message string
}

var wrongs = []wrong{
	{
		what:      "an address and port that another service has",
		service:   cluster.Service{Port: 8000, Extra: []string{"loadBalancerIP: 203.0.113.1"}},
		condition: v1.ConditionAllocated, reason: "AddressInUse", message: "203.0.113.1",
	},
	{
		what:      "an address outside the pools",
		service:   cluster.Service{Port: 9000, Extra: []string{"loadBalancerIP: 198.51.100.200"}},
		condition: v1.ConditionAllocated, reason: "AddressOutsidePools", message: "198.51.100.200",
	},
	{
		what:      "an address that is none",
		service:   cluster.Service{Port: 9000, Extra: []string{"loadBalancerIP: somewhere"}},
		condition: v1.ConditionAccepted, reason: "InvalidAddress", message: `"somewhere" is no IPv4 address`,
	},
	{
		what:      "a pool that does not exist",
		service:   cluster.Service{Port: 9000, Annotations: []string{"loxilb.io/poolSelect: other"}},
		condition: v1.ConditionAllocated, reason: "NoSuchPool", message: "other",
	},
	{
		what:      "an unknown mode",
		service:   cluster.Service{Port: 9000, Annotations: []string{"loxilb.io/lbmode: turbo"}},
		condition: v1.ConditionAccepted, reason: "UnknownMode", message: "use default, onearm or fullnat",
	},
	{
		what:      "a liveness that is neither yes nor no",
		service:   cluster.Service{Port: 9000, Annotations: []string{"loxilb.io/liveness: perhaps"}},
		condition: v1.ConditionAccepted, reason: "InvalidAnnotation", message: "neither yes nor no",
	},
	{
		what:      "an unknown protocol",
		service:   cluster.Service{PortFields: []string{"port: 9000", "nodePort: 30001", "protocol: DCCP"}},
		condition: v1.ConditionAccepted, reason: "InvalidProtocol", message: "use TCP, UDP or SCTP",
	},
	{
		what:      "port 0",
		service:   cluster.Service{PortFields: []string{"port: 0", "nodePort: 30001"}},
		condition: v1.ConditionAccepted, reason: "InvalidPort", message: "spec.ports[0].port",
	},
	{
		what:      "a good port and a bad one: neither is programmed",
		service:   cluster.Service{PortFields: []string{"port: 9000, nodePort: 30001}\n  - {name: b, port: 70000", "nodePort: 30001"}},
		condition: v1.ConditionAccepted, reason: "InvalidPort", message: "spec.ports[1].port: 70000",
	},
	{
		what:      "source ranges that cannot be read, which must not be open to all",
		service:   cluster.Service{Port: 9000, Extra: []string{"loadBalancerSourceRanges: [192.0.2.0/28, 10.0.0.1]"}},
		condition: v1.ConditionAccepted, reason: "InvalidSourceRange", message: "spec.loadBalancerSourceRanges",
	},
}

var _ = Describe("A service that asks for", Ordered, ContinueOnFailure, func() {
	var l *cluster.Lab
	BeforeAll(func(ctx SpecContext) { l = up(ctx) })

	for _, w := range wrongs {
		It(w.what+" is refused with what to do, and nothing else changes", func(ctx SpecContext) {
			expectRefused(ctx, l, w)
		})
	}

	It("an address of an exhausted pool waits for one, and gets it when one is free", func(ctx SpecContext) {
		second := cluster.Service{Name: "second", Protocol: probe.TCP, Port: 8000} // takes the pool's other address
		third := cluster.Service{Name: "third", Protocol: probe.TCP, Port: 8000}
		harness.Step("the pool has two addresses, and a third service wants the same port", func() {
			l.Deploy(second, "pod1")
			DeferCleanup(l.RemoveManifest, third.File())
			l.ExpectBackends(ctx, second, "pod1")
			l.Deploy(third, "pod1")
			harness.Soon(ctx, failing(l, third.Name)).Should(ConsistOf(And(
				HaveField("Type", v1.ConditionAllocated), HaveField("Reason", "PoolExhausted"), HaveField("Message", ContainSubstring("small")))))
			Expect(weirctl(ctx, l, "get", "svc")).To(And(
				MatchRegexp(`third +LoadBalancer +\S+ +<pending>`), MatchRegexp(`default/third: PoolExhausted: .*small`)))
		})
		harness.Step("it is not programmed, the others are served", func() {
			harness.Holds(ctx, steady, programmed(l)).Should(And(HaveLen(4), Not(ContainElement(HavePrefix("default/third")))))
			expectGoodServed(ctx, l)
		})
		harness.Step("the second goes, and the third has its address", func() {
			Expect(l.RemoveManifest(second.File())).To(Succeed())
			l.ExpectBackends(ctx, third, "pod1")
			r := third.Request()
			r.Target = netip.AddrPortFrom(netip.MustParseAddr("203.0.113.2"), 8000)
			a, err := l.Requests.Do(ctx, r)
			Expect(err).NotTo(HaveOccurred())
			Expect(a.Backend).To(Equal("pod1"))
		})
	})

	It("what it can have is served: the control of the refusals", func(ctx SpecContext) {
		good := cluster.Service{Name: "bad", Protocol: probe.TCP, Port: 9000}
		l.Deploy(good, "pod1")
		DeferCleanup(l.RemoveManifest, good.File())
		l.ExpectBackends(ctx, good, "pod1")
		harness.Soon(ctx, failing(l, good.Name)).Should(BeEmpty())
		Expect(programmed(l)(ctx)).NotTo(goodOnly)
	})
})

var _ = Describe("A service that a node cannot serve", Ordered, func() {
	var l *cluster.Lab
	BeforeAll(func(ctx SpecContext) { l = up(ctx) })

	It("is not programmed, with the node's name and reason, until it can", func(ctx SpecContext) {
		// Pod addresses, to which the load balancer has no route.
		s := cluster.Service{Name: "routeless", Protocol: probe.TCP, Port: 9000, Annotations: []string{`loxilb.io/usepodnetwork: "yes"`}}
		column := func(word string) func(context.Context) string {
			return func(ctx context.Context) string {
				return regexp.MustCompile(`(?m)^default +routeless .* ` + word + ` .*$`).FindString(weirctl(ctx, l, "-o", "wide", "get", "svc"))
			}
		}
		harness.Step("there is no route to its backend", func() {
			l.Deploy(s, "pod1")
			DeferCleanup(l.RemoveManifest, s.File())
			harness.Soon(ctx, failing(l, s.Name)).Should(ConsistOf(And(
				HaveField("Type", v1.ConditionProgrammed), HaveField("Reason", "BackendsUnreachable"), HaveField("Unknown", false),
				HaveField("Message", HavePrefix("lb: no route to, or no answer to ARP from, 10.42.1.5")))))
			Expect(weirctl(ctx, l, "get", "svc")).To(MatchRegexp(`(?m)^default/routeless: BackendsUnreachable: lb: no route to`))
			Expect(column("false")(ctx)).NotTo(BeEmpty())
		})
		harness.Step("the others are", func() {
			for _, p := range cluster.Protocols {
				harness.Soon(ctx, failing(l, string(p))).Should(BeEmpty())
			}
		})
		harness.Step("there is one", func() {
			route := []string{"ip", "route", "add", "10.42.1.0/24", "via", "198.51.100.101"}
			code, out := run(ctx, l.Node("lb"), route...)
			Expect(code).To(BeZero(), out)
			harness.Soon(ctx, column("true")).ShouldNot(BeEmpty())
			Expect(failing(l, s.Name)(ctx)).To(BeEmpty())
		})
	})
})

// expectRefused deploys the service, and expects the refusal wherever a person
// or a program looks, and an untouched node.
func expectRefused(ctx context.Context, l *cluster.Lab, w wrong) {
	GinkgoHelper()
	s := w.service
	s.Name, s.Protocol = "bad", probe.TCP
	l.Deploy(s, "pod1")
	DeferCleanup(func(ctx SpecContext) {
		Expect(l.RemoveManifest(s.File())).To(Succeed())
		harness.Soon(ctx, failing(l, s.Name)).Should(BeEmpty())
	})
	refusal := And(HaveField("Type", w.condition), HaveField("Reason", w.reason), HaveField("Message", ContainSubstring(w.message)))
	harness.Step("the condition says why", func() {
		harness.Soon(ctx, failing(l, s.Name)).Should(ContainElement(refusal))
	})
	harness.Step("weirctl shows it to people and programs", func() {
		out := weirctl(ctx, l, "get", "svc")
		Expect(out).To(MatchRegexp(`default +bad +LoadBalancer +\S+ +<pending>`))
		Expect(out).To(MatchRegexp(`(?m)^default/bad: %s: .`, w.reason))
		Expect(out).To(ContainSubstring(w.message))
		var status v1.ControllerStatus
		Expect(json.Unmarshal([]byte(weirctl(ctx, l, "-o", "json", "get", "svc")), &status)).To(Succeed())
		Expect(status.Services).To(ContainElement(And(HaveField("Name", "bad"), HaveField("Conditions", ContainElement(refusal)))))
	})
	harness.Step("the node has nothing of it, and serves all others", func() { expectUntouched(ctx, l) })
}
