package badinput

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/endpoints/cluster"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/node"
)

// steady is for how long what must not happen is looked for: many times what
// kube-weir needs from a manifest to a node.
const steady = 500 * time.Millisecond

// up brings the cluster up with a good service of each protocol.
func up(ctx context.Context) *cluster.Lab {
	GinkgoHelper()
	l := cluster.Up(ctx, harness.Options{})
	for _, p := range cluster.Protocols {
		l.Deploy(cluster.Of(p), "pod1")
	}
	for _, p := range cluster.Protocols {
		l.ExpectBackends(ctx, cluster.Of(p), "pod1")
	}
	expectGoodServed(ctx, l)
	return l
}

// expectGoodServed asks the three good services.
func expectGoodServed(ctx context.Context, l *cluster.Lab) {
	GinkgoHelper()
	for _, p := range cluster.Protocols {
		a, err := l.Requests.Do(ctx, cluster.Of(p).Request())
		Expect(err).NotTo(HaveOccurred(), "the good service over %s", p)
		Expect(a.Backend).To(Equal("pod1"))
	}
}

// programmed names what weir has in its maps, and what it was told and has not.
func programmed(l *cluster.Lab) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		services, err := l.Weir("lb").Services(ctx)
		var names []string
		for _, s := range services {
			name := fmt.Sprintf("%s %s", s.Name, s.Frontend)
			if !s.Programmed {
				name += " not programmed"
			}
			names = append(names, name)
		}
		return names, err
	}
}

// goodOnly are the frontends of the three good services.
var goodOnly = ConsistOf(
	"default/tcp 203.0.113.1:8000/tcp", "default/udp 203.0.113.1:8000/udp", "default/sctp 203.0.113.1:8000/sctp")

// expectUntouched holds the node to the good services alone, all served.
func expectUntouched(ctx context.Context, l *cluster.Lab) {
	GinkgoHelper()
	harness.Holds(ctx, steady, programmed(l)).Should(goodOnly)
	expectGoodServed(ctx, l)
}

// failing are the conditions of a service that do not hold.
func failing(l *cluster.Lab, service string) func(context.Context) ([]v1.Condition, error) {
	return func(ctx context.Context) ([]v1.Condition, error) {
		status, err := l.Controller.Controller(ctx)
		var bad []v1.Condition
		for _, s := range status.Services {
			for _, c := range s.Conditions {
				if s.Name == service && !c.Status {
					bad = append(bad, c)
				}
			}
		}
		return bad, err
	}
}

// weirctl runs weirctl against kube-weir and returns all that a person sees.
func weirctl(ctx context.Context, l *cluster.Lab, args ...string) string {
	GinkgoHelper()
	code, out := run(ctx, l.Node("worker1"), append([]string{"weirctl", "--socket", l.ControllerSocket()}, args...)...)
	Expect(code).To(BeZero(), out)
	return out
}

// run runs a program that may fail, and returns its exit code and all output.
func run(ctx context.Context, n *node.Node, line ...string) (int, string) {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd, err := n.Command(ctx, line[0], line[1:]...)
	Expect(err).NotTo(HaveOccurred())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	Expect(n.Start(cmd)).To(Succeed())
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), out.String()
	}
	Expect(err).NotTo(HaveOccurred())
	return 0, out.String()
}
