package badinput

import (
	"context"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/endpoints/cluster"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/probe"
)

var _ = Describe("A manifest", Ordered, ContinueOnFailure, func() {
	var l *cluster.Lab
	BeforeAll(func(ctx SpecContext) { l = up(ctx) })

	problems := func(ctx context.Context) ([]v1.Problem, error) {
		status, err := l.Controller.Controller(ctx)
		return status.Problems, err
	}
	extra := cluster.Service{Name: "extra", Protocol: probe.TCP, Port: 9000}
	for _, broken := range []struct {
		what, old, new, object, message string
	}{
		{"that is no YAML", "  ports:\n", "  ports: [\n", "extra.yml:10", ""},
		{"with a word where a number belongs", "port: 9000", "port: many", "extra.yml:10", "spec.ports[0].port"},
		{"with a field that does not exist", "  externalTrafficPolicy: Local", "  externalTrafficPolitics: Local", "extra.yml:8", "spec.externalTrafficPolitics"},
		{"with a field twice", "  externalTrafficPolicy: Local", "  type: NodePort", "extra.yml:8", "spec.type"},
	} {
		It(broken.what+" is named with file, line and field, and other services go on", func(ctx SpecContext) {
			good := extra.Manifest("pod1")
			Expect(good).To(ContainSubstring(broken.old))
			l.Write(extra.File(), strings.Replace(good, broken.old, broken.new, 1))
			DeferCleanup(func(ctx SpecContext) {
				Expect(l.RemoveManifest(extra.File())).To(Succeed())
				harness.Soon(ctx, problems).Should(BeEmpty())
				harness.Soon(ctx, programmed(l)).Should(goodOnly)
			})
			harness.Step("the problem says where", func() {
				harness.Soon(ctx, problems).Should(ContainElement(And(
					HaveField("Object", HaveSuffix(broken.object)), HaveField("Message", ContainSubstring(broken.message)))))
				Expect(weirctl(ctx, l, "get", "svc")).To(And(ContainSubstring(broken.object), ContainSubstring(broken.message)))
			})
			harness.Step("the node serves the others", func() { expectUntouched(ctx, l) })
			harness.Step("mended, it is served", func() {
				l.Write(extra.File(), good)
				l.ExpectBackends(ctx, extra, "pod1")
				harness.Soon(ctx, problems).Should(BeEmpty())
			})
		})
	}

	It("of a service that is served may break: the service stays as it was last", func(ctx SpecContext) {
		tcp := cluster.Of(probe.TCP)
		l.Write(tcp.File(), "apiVersion: v1\nkind: Service\n  metadata: {")
		DeferCleanup(func() { l.Deploy(tcp, "pod1") })
		harness.Soon(ctx, problems).Should(ContainElement(HaveField("Object", ContainSubstring(tcp.File()))))
		expectUntouched(ctx, l)
	})
})
