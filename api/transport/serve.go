package transport

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// Limits bound what clients of one listener can take.
type Limits struct {
	// Connections is how many are open at a time: for one more, the oldest
	// goes.
	Connections int
	// Header and Read bound the time to read a request's head and all of it,
	// Write the time from there to the end of the answer, Idle the life of an
	// unused connection.
	Header, Read, Write, Idle time.Duration
	// Shutdown is how long requests under way may take when the server ends.
	Shutdown time.Duration
}

// DefaultLimits let 64 MiB come in over a link of 20 Mbit/s.
var DefaultLimits = Limits{
	Connections: 256,
	Header:      5 * time.Second, Read: 30 * time.Second, Write: 60 * time.Second, Idle: 2 * time.Minute,
	Shutdown: 5 * time.Second,
}

// Serve answers on listeners until ctx ends, lets requests under way finish, and
// closes the listeners. Each has its own bound: who fills the port does not keep
// the machine's own clients from the socket. The error is that of the first
// listener that fails. log is told of connections that go for others, and of
// what net/http finds odd.
func Serve(ctx context.Context, h http.Handler, limits Limits, log *slog.Logger, listeners ...net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		group.Go(func() error { return serveOne(ctx, l, h, limits, log) })
	}
	return group.Wait()
}

func serveOne(ctx context.Context, l net.Listener, h http.Handler, limits Limits, log *slog.Logger) error {
	server := &http.Server{
		Handler:           h,
		ConnState:         newConnections(limits.Connections, log).follow,
		ReadHeaderTimeout: limits.Header,
		ReadTimeout:       limits.Read,
		WriteTimeout:      limits.Write,
		IdleTimeout:       limits.Idle,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		// The end of ctx must not cut what Shutdown waits for.
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), limits.Shutdown)
		defer cancel()
		if err := server.Shutdown(grace); err != nil {
			return server.Close()
		}
		return nil
	})
	return group.Wait()
}
