package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/api/transport"
	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/cmd/internal/tcpapi"
	"github.com/weir-lb/weir/controller/k8s"
	"github.com/weir-lb/weir/controller/metrics"
	"github.com/weir-lb/weir/controller/pki"
)

// serve runs the controller until ctx ends.
func serve(ctx context.Context, c config, log *slog.Logger) error {
	p, work, err := prepare(c, log)
	if err != nil {
		return err
	}
	c = p.config
	faces, err := listen(ctx, c, log)
	if err != nil {
		return err
	}
	defer faces.close()
	if !c.secure {
		log.Warn("no certificates: only nodes on loopback can be reached; give --tls-cert, --tls-key and --tls-ca")
	}
	group, ctx := errgroup.WithContext(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group.Go(func() error { defer cancel(); return work(ctx) })
	api := server(routes(p.desk, p.pushes), log)
	group.Go(func() error { return api(ctx, faces.api...) })
	if faces.late {
		group.Go(func() error { return tcpapi.ServeLate(ctx, c.listen, c.tls, log, api) })
	}
	if faces.health != nil {
		group.Go(func() error { return server(probes(p.desk), log)(ctx, faces.health) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	log.Info("kube-weir ends")
	return nil
}

// server returns what serves h on listeners until its context ends.
func server(h http.Handler, log *slog.Logger) func(context.Context, ...net.Listener) error {
	return func(ctx context.Context, listeners ...net.Listener) error {
		return transport.Serve(ctx, h, transport.DefaultLimits, log, listeners...)
	}
}

// prepare returns the program and what runs it: on a folder, or on a cluster,
// which it asks for nothing yet. Without certificates given, a cluster's
// controller makes them.
func prepare(c config, log *slog.Logger) (*program, func(context.Context) error, error) {
	p := &program{config: c, log: log, pushes: metrics.NewPushes(), desk: &desk{source: "manifests " + c.manifests}}
	if c.manifests != "" {
		return p, p.fromFolder, nil
	}
	c.cluster.Log = log
	cluster, err := k8s.Connect(c.cluster)
	if err != nil {
		return nil, nil, err
	}
	p.config.controller.Namespaces = cluster.Namespaces()
	p.desk.source, p.desk.leader = cluster.String(), cluster.Leader
	if !c.secure {
		p.certificates = cluster.NewCertificates(k8s.CertificatesOptions{})
		p.config.tls, p.config.secure = p.certificates.Credentials(), true
		p.desk.problems = p.certificates.Problems
		p.config.serverName = cmp.Or(c.serverName, pki.Nodes.Name)
	}
	return p, func(ctx context.Context) error { return p.fromCluster(ctx, cluster) }, nil
}

// faces are where the controller is asked.
type faces struct {
	api    []net.Listener
	late   bool         // TCP waits for certificates
	health net.Listener // nil for none
}

func (f *faces) close() {
	for _, l := range append(f.api, f.health) {
		if l != nil {
			l.Close()
		}
	}
}

// listen opens all of them. The socket comes first: it also keeps a second
// controller away from the memory.
func listen(ctx context.Context, c config, log *slog.Logger) (*faces, error) {
	socket, err := transport.ListenUnix(ctx, c.socket)
	if err != nil {
		return nil, err
	}
	f := &faces{api: []net.Listener{socket}}
	f.late = c.listen != "" && transport.Lacking(c.tls) != nil
	if c.listen != "" && !f.late {
		tcp, err := transport.ListenTCP(c.listen, c.tls)
		if err != nil {
			f.close()
			return nil, fmt.Errorf("listen for the API: %w", err)
		}
		f.api = append(f.api, tcp)
		log.Info("api listens", "address", tcp.Addr().String(), "tls", c.secure)
	}
	if c.healthListen != "" {
		if f.health, err = (&net.ListenConfig{}).Listen(ctx, "tcp", c.healthListen); err != nil {
			f.close()
			return nil, fmt.Errorf("listen for probes: %w", err)
		}
		log.Info("probes listen", "address", f.health.Addr().String())
	}
	return f, nil
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
