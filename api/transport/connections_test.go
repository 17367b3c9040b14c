package transport

import (
	"log/slog"
	"net"
	"net/http"
	"testing"
)

// Who has a request under way stays while others only hold connections.
func TestTheOldestWithoutARequestGoesFirst(t *testing.T) {
	c := newConnections(2, slog.New(slog.DiscardHandler))
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
