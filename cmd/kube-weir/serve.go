package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/api/transport"
	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/cmd/internal/version"
	"github.com/weir-lb/weir/controller/loop"
	"github.com/weir-lb/weir/controller/memory"
	"github.com/weir-lb/weir/controller/metrics"
	"github.com/weir-lb/weir/controller/push"
	"github.com/weir-lb/weir/controller/static"
)

// serve runs the controller until ctx ends.
func serve(ctx context.Context, c config, log *slog.Logger) error {
	// The socket comes first: it also keeps a second controller away from the
	// memory.
	listener, err := transport.ListenUnix(ctx, c.socket)
	if err != nil {
		return err
	}
	defer listener.Close()
	listeners := []net.Listener{listener}
	if c.listen != "" {
		tcp, err := transport.ListenTCP(c.listen, c.tls)
		if err != nil {
			return fmt.Errorf("listen for the API: %w", err)
		}
		defer tcp.Close()
		listeners = append(listeners, tcp)
		log.Info("api listens", "address", tcp.Addr().String(), "tls", c.secure)
	}
	mem, err := memory.Open(c.memory, time.Now())
	if err != nil {
		return err
	}
	if !c.secure {
		log.Warn("no certificates: only nodes on loopback can be reached; give --tls-cert, --tls-key and --tls-ca")
	}
	measured := metrics.NewPushes()
	l := loop.New(loop.Options{
		Version: version.String(), Source: static.New(c.manifests, static.Options{}),
		Config: c.controller, Memory: mem,
		Pusher: push.New(push.Options{Epoch: mem.Epoch(), Dial: c.dialer(), Pushed: measured.Pushed}),
		Notify: func(events []v1.Event, problems []v1.Problem, skipped []string) { tell(log, events, problems, skipped) },
	})
	log.Info("kube-weir runs", "version", version.String(), "manifests", c.manifests, "socket", c.socket, "epoch", mem.Epoch())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.Run(ctx) })
	group.Go(func() error { return serveHTTP(ctx, routes(l, measured), log, listeners...) })
	if c.passwords != "" {
		group.Go(func() error { followPasswords(ctx, c, rereadPasswords, l.Configure); return nil })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	log.Info("kube-weir ends")
	return nil
}

// tell logs what happened.
func tell(log *slog.Logger, events []v1.Event, problems []v1.Problem, skipped []string) {
	for _, e := range events {
		write := log.Info
		if e.Type == v1.EventWarning {
			write = log.Warn
		}
		write("event", "object", e.Object, "reason", e.Reason, "message", e.Message)
	}
	for _, p := range problems {
		log.Warn("problem", "object", p.Object, "reason", p.Reason, "message", p.Message)
	}
	for _, s := range skipped {
		log.Debug("skipped a kind that is not used", "object", s)
	}
}

// serveHTTP answers until ctx ends and lets requests under way finish.
func serveHTTP(ctx context.Context, h http.Handler, log *slog.Logger, listeners ...net.Listener) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second, // nothing here takes a body
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		group.Go(func() error {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	group.Go(func() error {
		<-ctx.Done()
		// The end of ctx must not cut what Shutdown waits for.
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := server.Shutdown(grace); err != nil {
			return server.Close()
		}
		return nil
	})
	return group.Wait()
}
