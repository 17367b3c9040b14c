package rights

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"go.yaml.in/yaml/v3"

	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/node"
)

// given is what a DaemonSet of deploy/base adds to no capabilities at all.
func given(file string) []string {
	GinkgoHelper()
	f, err := os.Open("../../deploy/base/" + file)
	Expect(err).NotTo(HaveOccurred())
	defer f.Close()
	for documents := yaml.NewDecoder(f); ; {
		var o struct {
			Kind string
			Spec struct {
				Template struct {
					Spec struct {
						Containers []struct {
							SecurityContext struct {
								Capabilities struct{ Add, Drop []string }
							} `yaml:"securityContext"`
						}
					}
				}
			}
		}
		err := documents.Decode(&o)
		Expect(errors.Is(err, io.EOF)).To(BeFalse(), "%s has no DaemonSet", file)
		Expect(err).NotTo(HaveOccurred())
		if o.Kind == "DaemonSet" {
			Expect(o.Spec.Template.Spec.Containers).To(HaveLen(1))
			return o.Spec.Template.Spec.Containers[0].SecurityContext.Capabilities.Add
		}
	}
}

// within has root run a command with these capabilities alone.
func within(capabilities []string, command string) string {
	set := "-all"
	for _, c := range capabilities {
		set += ",+" + strings.ToLower(c)
	}
	return "setpriv --bounding-set=" + set + " --inh-caps=-all " + command
}

// without is all of a list but one.
func without(all []string, one string) []string {
	Expect(all).To(ContainElement(one))
	return slices.DeleteFunc(slices.Clone(all), func(c string) bool { return c == one })
}

var _ = Describe("Nodes with the rights of deploy/base", Ordered, func() {
	var l *lab.Lab
	commands := map[*node.Process]string{} // without setpriv
	rights := map[string][]string{}

	BeforeAll(func(ctx SpecContext) {
		for _, name := range lab.Masters {
			rights[name] = given("weir.yaml")
		}
		for _, name := range lab.Workers {
			rights[name] = given("weir-peer.yaml")
		}
		l = lab.Up(ctx, harness.Options{})
		for name, may := range rights {
			n := l.Node(name)
			weir := n.Process("weir")
			Expect(weir.Stop(ctx)).To(Succeed())
			if slices.Contains(lab.Masters, name) {
				// Nothing may be left of what a weir with all rights has made, but for the init container's work.
				_, err := n.Run(ctx, "weir", "--cleanup", "--pin-dir="+n.Dir()+"/bpf", "--state-dir="+n.Dir()+"/state")
				Expect(err).NotTo(HaveOccurred())
				_, err = n.Run(ctx, "weir", "--prepare", "--pin-dir="+n.Dir()+"/bpf")
				Expect(err).NotTo(HaveOccurred())
			}
			// As in a cluster, where the mount is /sys/fs/bpf and stays.
			commands[weir] = strings.Replace(weir.Spec.Command, "/bpf", "/bpf/weir", 1)
			weir.Spec.Command = within(may, commands[weir])
			Expect(weir.Start(ctx)).To(Succeed())
		}
		l.ExpectConverged(ctx, lab.Master1)
	})

	It("serve the article", func(ctx SpecContext) {
		Expect(l.Ask(ctx, 3*time.Second, lab.Services...)).To(BeEmpty())
		weir := l.Node("master1").Process("weir")
		Expect(weir.Kill(ctx)).To(Succeed())
		Expect(weir.Start(ctx)).To(Succeed())
		Expect(l.Ask(ctx, 3*time.Second, lab.Services...)).To(BeEmpty())
	})

	It("are cleaned by the pod of deploy/cleanup, which stays", func(ctx SpecContext) {
		master := l.Node("master2")
		weir := master.Process("weir")
		command := weir.Spec.Command
		Expect(weir.Kill(ctx)).To(Succeed())
		DeferCleanup(func(ctx context.Context) {
			Expect(weir.Stop(ctx)).To(Succeed())
			weir.Spec.Command = command
			Expect(weir.Start(ctx)).To(Succeed())
			l.ExpectConverged(ctx, lab.Master1)
		})
		weir.Spec.Command = within(given("../cleanup/weir-cleanup.yml"), "weir --cleanup --stay --pin-dir={{.State}}/bpf/weir --state-dir={{.State}}/state")
		Expect(weir.Launch()).To(Succeed())
		harness.Soon(ctx, func(context.Context) string { return weir.Tail(1) }).Should(ContainSubstring("nothing of weir is left on this node"))
		Expect(weir.Running()).To(BeTrue())
		for _, left := range []string{"bpf/weir", "state"} {
			Expect(filepath.Join(master.Dir(), left)).NotTo(BeAnExistingFile())
		}
	})

	DescribeTable("need every one of them", func(ctx SpecContext, name, capability string, says string) {
		weir := l.Node(name).Process("weir")
		Expect(weir.Stop(ctx)).To(Succeed())
		weir.Spec.Command = within(without(rights[name], capability), commands[weir])
		DeferCleanup(func(ctx context.Context) {
			Expect(weir.Stop(ctx)).To(Succeed())
			weir.Spec.Command = within(rights[name], commands[weir])
			Expect(weir.Start(ctx)).To(Succeed())
			l.ExpectConverged(ctx, lab.Master1)
		})
		Expect(weir.Launch()).To(Succeed())
		harness.Soon(ctx, func(context.Context) string { return weir.Tail(20) }).Should(ContainSubstring(says))
	},
		Entry("BPF", "master2", "BPF", "CAP_BPF is missing, run as root or add it"),
		Entry("NET_ADMIN", "master2", "NET_ADMIN", "CAP_NET_ADMIN is missing, run as root or add it"),
		Entry("PERFMON", "master2", "PERFMON", "CAP_PERFMON is missing, run as root or add it"),
		Entry("NET_RAW", "master2", "NET_RAW", "CAP_NET_RAW is missing"),
		Entry("NET_BIND_SERVICE", "master2", "NET_BIND_SERVICE", "CAP_NET_BIND_SERVICE is missing"),
		Entry("NET_ADMIN, of a peer", "worker2", "NET_ADMIN", "CAP_NET_ADMIN is missing, run as root or add it"),
		Entry("NET_BIND_SERVICE, of a peer", "worker2", "NET_BIND_SERVICE", "CAP_NET_BIND_SERVICE is missing"),
	)
})
