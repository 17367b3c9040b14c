package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/agent/api"
	"github.com/weir-lb/weir/api/transport"
	"github.com/weir-lb/weir/cmd/internal/tcpapi"
	"github.com/weir-lb/weir/cmd/internal/version"
	"github.com/weir-lb/weir/dataplane/overlay"
)

// serve runs the node until signalled ends. The order matters: what can refuse to
// start comes before what touches the node.
func serve(signalled context.Context, c config, log *slog.Logger) error {
	if err := preflight(c.peer); err != nil {
		return err
	}
	file, err := openState(c, log)
	if err != nil {
		return err
	}
	if file != nil {
		defer file.Close()
	}
	filters, err := openFilters(c, log)
	if err != nil {
		return err
	}
	restored := file != nil && file.Restored()
	late := c.waits()
	listeners, err := listen(signalled, c, late, log)
	if err != nil {
		return err
	}
	defer closeAll(listeners)
	opening := signalled
	if file != nil && drained(file.Saved()) {
		opening = context.WithoutCancel(signalled) // its end is a stop, which takes what was opened
	}
	p, ended, err := openUntil(opening, c, restored, log)
	if err != nil {
		return err
	}
	if ended {
		log.Info("weir ends before it runs")
		return nil
	}
	node := agent.New(p.fill(agent.Options{Name: c.nodeName, Version: version.String(), StateFile: file, Log: log}))
	server := api.New(node, log, api.DefaultLimits)
	log.Info("weir runs", "node", c.nodeName, "version", version.String(), "mode", node.Version().Mode, "bgp", c.bgp)
	// A signal that means a restart ends API and work at once. With a stop the API
	// answers until nothing is left.
	ctx, cancel := context.WithCancel(context.WithoutCancel(signalled))
	defer cancel()
	var faces errgroup.Group
	faces.Go(func() error {
		select {
		case <-ctx.Done():
		case <-signalled.Done():
			if !node.StopIfDrained(ctx) {
				cancel()
			}
		}
		return nil
	})
	if len(listeners) > 0 {
		faces.Go(func() error {
			defer cancel()
			return server.Run(ctx, listeners...)
		})
	}
	if late {
		faces.Go(func() error {
			defer cancel()
			return tcpapi.ServeLate(ctx, c.listen, c.tls, log, server.Run)
		})
	}
	err = errors.Join(work(ctx, node, filters), end(node, c, p, filters, file))
	cancel()
	if err := errors.Join(err, faces.Wait()); err != nil {
		return err
	}
	log.Info("weir ends")
	return nil
}

// drained tells whether an owner said of this node, before the restart, that it is drained.
func drained(saved agent.Saved) bool {
	for _, state := range saved.States {
		if state.Drained {
			return true
		}
	}
	return false
}

// work runs the node until ctx ends or it is drained.
func work(ctx context.Context, node *agent.Node, filters *overlay.Loosener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer cancel() // a drained node ends by itself
		return node.Run(ctx)
	})
	if filters != nil {
		group.Go(func() error { return filters.Run(ctx) })
	}
	return group.Wait()
}

// end leaves everything at work for the next run, but for a node that was
// drained: nothing of it stays.
func end(node *agent.Node, c config, p parts, filters *overlay.Loosener, file *agent.StateFile) error {
	if !node.Drained() {
		return p.close()
	}
	err := p.stop()
	if filters != nil {
		err = errors.Join(err, filters.Restore())
	} else {
		// A run before this one may have loosened some, with other flags.
		err = errors.Join(err, restoreFilters(c))
	}
	if file != nil {
		err = errors.Join(err, file.Remove())
	}
	return err
}

// openState reads what a weir before this one was asked for; nil without
// --state-dir.
func openState(c config, log *slog.Logger) (*agent.StateFile, error) {
	if c.stateDir == "" {
		return nil, nil
	}
	file, err := agent.OpenStateFile(c.stateDir)
	if err != nil {
		return nil, err
	}
	for owner, state := range file.Saved().States {
		log.Info("state restored", "owner", owner, "generation", state.Generation.String(), "services", len(state.Services))
	}
	return file, nil
}

// waits tells whether the API has to wait for certificates on TCP.
func (c config) waits() bool { return c.listen != "" && transport.Lacking(c.tls) != nil }

// listen opens the API's sockets; late leaves TCP to serveLate. A socket that
// another weir uses is an error.
func listen(ctx context.Context, c config, late bool, log *slog.Logger) ([]net.Listener, error) {
	var listeners []net.Listener
	if c.socket != "" {
		l, err := transport.ListenUnix(ctx, c.socket)
		if err != nil {
			return nil, err
		}
		listeners = append(listeners, l)
	}
	if c.listen != "" && !late {
		l, err := transport.ListenTCP(c.listen, c.tls)
		if err != nil {
			closeAll(listeners)
			return nil, fmt.Errorf("listen for the API: %w", err)
		}
		listeners = append(listeners, l)
	}
	for _, l := range listeners {
		secure, _ := c.tls.Given()
		attrs := []any{"address", l.Addr().String()}
		if l.Addr().Network() == "tcp" {
			attrs = append(attrs, "tls", secure)
			if !secure {
				attrs = append(attrs, "note", "no certificates, so this machine only; give --tls-cert, --tls-key and --tls-ca")
			}
		}
		log.Info("api listens", attrs...)
	}
	return listeners, nil
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}
