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

	"github.com/weir-lb/weir/internal/waittest"
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
	waittest.Eventually(t, func() string {
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
