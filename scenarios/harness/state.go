package harness

import (
	"context"
	"fmt"
	"strings"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"github.com/weir-lb/weir/api/client"
	v1 "github.com/weir-lb/weir/api/v1"
)

// owner is the name under which scenarios send state.
const owner = "scenario"

// Weir returns a client of the node's weir over its unix socket. The scenario
// closes it.
func (s *Scenario) Weir(node string) *client.Client {
	ginkgo.GinkgoHelper()
	if s.clients[node] == nil {
		c, err := client.New(client.Options{Node: node, Socket: socket(s.Node(node))})
		if err != nil {
			ginkgo.Fail(err.Error())
		}
		s.clients[node] = c
	}
	return s.clients[node]
}

// Program makes these services all that the node serves, and waits until it
// serves them, each whole and with all its backends. No service withdraws all.
func (s *Scenario) Program(ctx context.Context, node string, services ...v1.Service) {
	ginkgo.GinkgoHelper()
	s.Put(ctx, node, v1.NodeState{Services: services})
	Soon(ctx, func(ctx context.Context) (string, error) { return s.unprogrammed(ctx, node) }).Should(
		gomega.BeEmpty(), "%s has to serve all of its state", node)
}

// Put sends a state to the node's weir as the next generation.
func (s *Scenario) Put(ctx context.Context, node string, state v1.NodeState) {
	ginkgo.GinkgoHelper()
	s.sequence++
	state.Generation = v1.Generation{Sequence: s.sequence}
	_, err := s.Weir(node).PutState(ctx, owner, state)
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
}

// unprogrammed says what of the last state is not in force yet.
func (s *Scenario) unprogrammed(ctx context.Context, node string) (string, error) {
	o, err := s.Weir(node).Observed(ctx)
	if err != nil {
		return "", err
	}
	want := v1.Generation{Sequence: s.sequence}
	var lacking []string
	for _, w := range o.Owners {
		if w.Owner == owner && w.Applied != want {
			lacking = append(lacking, fmt.Sprintf("generation %s is applied, %s is sent: %s", w.Applied, want, w.Error))
		}
	}
	for _, svc := range o.Services {
		if !svc.Programmed {
			lacking = append(lacking, fmt.Sprintf("%s is not programmed: %v", svc.Frontend, svc.Conditions))
		}
		for _, b := range svc.BackendStates {
			if b.State != v1.BackendActive {
				lacking = append(lacking, fmt.Sprintf("%s: backend %s is %s", svc.Frontend, b.Address, b.State))
			}
		}
	}
	return strings.Join(lacking, "\n"), nil
}

// ExpectSessions waits until the node speaks BGP and all its sessions are up.
func (s *Scenario) ExpectSessions(ctx context.Context, node string) {
	ginkgo.GinkgoHelper()
	Soon(ctx, func(ctx context.Context) (string, error) {
		status, err := s.Weir(node).BGP(ctx)
		if err != nil || status == nil || len(status.Peers) == 0 {
			return "BGP is not configured", err
		}
		down := ""
		for _, p := range status.Peers {
			if p.State != "established" {
				down += fmt.Sprintf("%s is %s\n", p.Address, p.State)
			}
		}
		return down, nil
	}).Should(gomega.BeEmpty(), "the sessions of %s", node)
}
