package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-lb/weir/api/client"
	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/internal/waittest"
)

// Descriptors and goroutines of a weir are as many after many states, whose BGP
// neighbours come and go, as after the first.
func TestDescriptorsAndGoroutinesStayFlat(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	api, pid, _ := startProcess(t, socket, filepath.Join(t.TempDir(), "state"))
	sequence := uint64(0)
	put := func(neighbours int) {
		t.Helper()
		sequence++
		mustApply(t, api, stateWith(sequence, neighbours))
	}
	put(0)
	var before usage
	settled := func() bool { // what was there at first may still be on its way
		last := before
		before = mustUse(t, pid, socket)
		return before == last
	}
	waittest.Until(t, "what it holds has settled", settled)
	for range 25 {
		put(3)
		put(0)
	}
	var after usage
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("after %d states %+v, at first %+v", sequence, after, before)
		}
	})
	waittest.Until(t, "it holds no more than at first", func() bool {
		after = mustUse(t, pid, socket)
		return after.descriptors <= before.descriptors && after.goroutines <= before.goroutines
	})
	put(3)
	waittest.Until(t, "control: the look sees what a neighbour takes", func() bool {
		return mustUse(t, pid, socket).goroutines > before.goroutines
	})
}

// stateWith has one service and so many neighbours, none of which answers.
func stateWith(sequence uint64, neighbours int) v1.NodeState {
	s := v1.NodeState{
		Generation: v1.Generation{Sequence: sequence},
		BGP:        &v1.BGP{ASN: 64512, RouterID: netip.MustParseAddr("192.0.2.10")},
	}
	for i := range neighbours {
		s.BGP.Peers = append(s.BGP.Peers, v1.Peer{
			Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(20 + i)}), ASN: 64512, Role: v1.PeerLB,
		})
	}
	return s
}

// mustApply puts a state and waits until it is in force.
func mustApply(t *testing.T, api *client.Client, s v1.NodeState) {
	t.Helper()
	ctx := t.Context()
	if _, err := api.PutState(ctx, "controller", s); err != nil {
		t.Fatal(err)
	}
	waittest.Until(t, "the state is in force", func() bool {
		owners, err := api.Owners(ctx)
		return err == nil && len(owners) == 1 && owners[0].Applied == s.Generation
	})
}

// usage is what a process holds.
type usage struct{ descriptors, goroutines int }

// mustUse asks the kernel and weir itself, over a connection that is there in
// every answer.
func mustUse(t *testing.T, pid int, socket string) (u usage) {
	t.Helper()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://weir/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	for s := bufio.NewScanner(answer.Body); s.Scan(); {
		if strings.HasPrefix(s.Text(), "go_goroutines ") {
			if _, err := fmt.Sscanf(s.Text(), "go_goroutines %d", &u.goroutines); err != nil {
				t.Fatal(err)
			}
		}
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	if u.descriptors = len(open); u.goroutines == 0 {
		t.Fatal("the metrics do not tell of goroutines")
	}
	return u
}
