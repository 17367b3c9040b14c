package api

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"testing"
	"time"
)

// A thousand clients hold connections, half of them within the head of a request
// and half within its body, and send a byte now and then: another one is answered
// all the same, and what they cost is bounded.
func TestAThousandSlowClientsDoNotShutOutOthers(t *testing.T) {
	const clients = 1000
	addr, _ := serve(t, DefaultLimits)
	goroutines, heap := runtime.NumGoroutine(), heapInUse()
	const head = "PUT /v1/state/slow HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	conns := make([]net.Conn, clients)
	for i := range conns {
		conns[i] = dial(t, addr)
		text := head
		if i%2 == 0 {
			text += "Content-Length: 1000000\r\n\r\n{"
		}
		_, _ = io.WriteString(conns[i], text) // an error is one that was closed
	}
	for round := range 3 {
		for _, c := range conns {
			_, _ = io.WriteString(c, "x")
		}
		began := time.Now()
		if got := raw(t, addr, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); got != http.StatusOK {
			t.Errorf("round %d: a good client got %d", round, got)
		}
		t.Logf("round %d: a good client was answered after %v", round, time.Since(began))
	}
	// The last ones closed are on their way out.
	limit := DefaultLimits.Connections
	eventually(t, func() string {
		// One descriptor for each client, one for each connection of the server.
		if open := descriptors(t); open > clients+limit+50 {
			return fmt.Sprintf("%d descriptors are open, want %d and a few", open, clients+limit)
		}
		// Two goroutines for each connection that has a request under way.
		if more := runtime.NumGoroutine() - goroutines; more > 2*limit+50 {
			return fmt.Sprintf("%d goroutines, want %d and a few", more, 2*limit)
		}
		return ""
	})
	if more := heapInUse() - heap; more > 64<<20 {
		t.Errorf("%d MB more are in use", more>>20)
	}
}

// eventually asks again until problem is empty, for 5 s at most.
func eventually(t *testing.T, problem func() string) {
	t.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(5 * time.Second)
	for {
		last := problem()
		if last == "" {
			return
		}
		select {
		case <-again.C:
		case <-deadline:
			t.Fatal(last)
		}
	}
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// Who has a request under way stays while others only hold connections.
func TestTheOldestWithoutARequestGoesFirst(t *testing.T) {
	c := newConnections(2, quiet)
	pipe := func() net.Conn {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { ours.Close(); theirs.Close() })
		return ours
	}
	busy, idle, third, fourth := pipe(), pipe(), pipe(), pipe()
	c.follow(busy, http.StateNew)
	c.follow(busy, http.StateActive)
	c.follow(idle, http.StateNew)
	c.follow(third, http.StateNew)
	if _, stays := c.since[busy]; !stays || len(c.since) != 2 || !c.since[idle].IsZero() {
		t.Errorf("of one with a request and one without, the wrong one went: %v", c.since)
	}
	c.follow(third, http.StateActive)
	c.follow(fourth, http.StateNew)
	if _, stays := c.since[busy]; stays || len(c.since) != 2 {
		t.Errorf("all had requests, and the oldest stays: %v", c.since)
	}
	c.follow(busy, http.StateIdle) // told late of one that is gone
	c.follow(fourth, http.StateClosed)
	if len(c.since) != 1 || len(c.busy) != 1 {
		t.Errorf("%d connections, %d busy; want 1, 1", len(c.since), len(c.busy))
	}
}
