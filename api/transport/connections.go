package transport

import (
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// tellEvery is the least time between two log lines about a full listener.
const tellEvery = 10 * time.Second

// connections bounds those of one listener. A new one always gets in: the oldest
// that has no request under way goes for it, and where all have one, the oldest.
// So clients that hold connections open, and send nothing or a byte a second,
// push out each other and not those who speak. Safe for concurrent use.
type connections struct {
	limit int
	log   *slog.Logger

	mu sync.Mutex
	// since is when each came, busy which have a request under way.
	since map[net.Conn]time.Time
	busy  map[net.Conn]bool
	// closed counts those that had to go since it was told last.
	closed int
	told   time.Time
}

func newConnections(limit int, log *slog.Logger) *connections {
	return &connections{limit: limit, log: log, since: map[net.Conn]time.Time{}, busy: map[net.Conn]bool{}}
}

// follow is http.Server's ConnState. A connection is new until the head of its
// first request has been read.
func (c *connections) follow(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		if len(c.since) >= c.limit {
			c.makeRoom()
		}
		c.since[conn] = time.Now()
	case http.StateActive:
		if _, known := c.since[conn]; known {
			c.busy[conn] = true
		}
	case http.StateIdle:
		delete(c.busy, conn)
	case http.StateClosed, http.StateHijacked:
		c.forget(conn)
	}
}

// makeRoom closes one. The caller holds the lock.
func (c *connections) makeRoom() {
	var goes net.Conn
	for conn, since := range c.since {
		if goes == nil || c.busy[goes] && !c.busy[conn] || c.busy[goes] == c.busy[conn] && since.Before(c.since[goes]) {
			goes = conn
		}
	}
	c.forget(goes)
	c.closed++
	if now := time.Now(); now.Sub(c.told) >= tellEvery {
		c.log.Warn("api is full: oldest connections closed for new ones; see who holds so many (ss -tnp)",
			"address", goes.LocalAddr().String(), "limit", c.limit, "closed", c.closed, "last", goes.RemoteAddr().String())
		c.told, c.closed = now, 0
	}
	// Not here: the end of TLS may wait for the client.
	go func() { _ = goes.Close() }()
}

func (c *connections) forget(conn net.Conn) {
	delete(c.since, conn)
	delete(c.busy, conn)
}
