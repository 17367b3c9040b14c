package main

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bgp"
	"github.com/weir-lb/weir/cmd/internal/version"
	"github.com/weir-lb/weir/controller"
	"github.com/weir-lb/weir/controller/k8s"
	"github.com/weir-lb/weir/controller/loop"
	"github.com/weir-lb/weir/controller/memory"
	"github.com/weir-lb/weir/controller/metrics"
	"github.com/weir-lb/weir/controller/push"
	"github.com/weir-lb/weir/controller/static"
)

// program is the controller of one kind of source, on its way to run.
type program struct {
	config config
	log    *slog.Logger
	pushes *metrics.Pushes
	desk   *desk
	// certificates are those that the controller makes; nil for those of files.
	certificates *k8s.Certificates
}

// fromFolder runs the controller on manifests until ctx ends.
func (p *program) fromFolder(ctx context.Context) error {
	mem, err := memory.Open(p.config.memory, time.Now())
	if err != nil {
		return err
	}
	return p.run(ctx, loop.Options{
		Source: static.New(p.config.manifests, static.Options{}), Memory: mem, Pusher: p.pusher(mem.Epoch()),
	}, mem.Epoch())
}

// fromCluster runs the controller on an apiserver until ctx ends, while this
// process leads.
func (p *program) fromCluster(ctx context.Context, cluster *k8s.Cluster) error {
	standBy := p.standBy(ctx)
	defer standBy()
	return cluster.Lead(ctx, func(ctx context.Context) error {
		standBy()
		mem, err := cluster.OpenMemory(ctx, time.Now())
		if err != nil {
			return err
		}
		source := cluster.NewSource(k8s.SourceOptions{Expect: mem.Counts(), LBs: mem.Memory().LBs, Absence: bgp.RestartTime})
		mem.Follow(source)
		pusher := p.pusher(mem.Epoch())
		writer := cluster.NewWriter(k8s.WriterOptions{Mark: pusher.Mark, Behind: pusher.Behind})
		events := cluster.NewEvents()
		options := loop.Options{
			Source: source, Memory: mem, Pusher: pusher,
			Publish: func(snap controller.Snapshot, services []v1.ControllerService, news []v1.Event) {
				events.Publish(snap, news)
				writer.Publish(snap, services)
			},
		}
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return writer.Run(ctx) })
		group.Go(func() error { return events.Run(ctx) })
		if p.certificates != nil {
			group.Go(func() error { return p.certificates.Run(ctx, true) })
		}
		group.Go(func() error { return p.run(ctx, options, mem.Epoch()) })
		return group.Wait()
	})
}

// standBy has this process use the certificates that the leader makes, until
// the function is called that it returns.
func (p *program) standBy(ctx context.Context) func() {
	if p.certificates == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = p.certificates.Run(ctx, false) }()
	return func() { cancel(); <-ended }
}

func (p *program) pusher(epoch uint64) *push.Pusher {
	return push.New(push.Options{Epoch: epoch, Dial: p.config.dialer(), Pushed: p.pushes.Pushed})
}

// run runs the loop, and has it follow the file of passwords.
func (p *program) run(ctx context.Context, o loop.Options, epoch uint64) error {
	o.Version, o.Config = version.String(), p.config.controller
	o.Notify = func(events []v1.Event, problems []v1.Problem, skipped []string) {
		tell(p.log, events, problems, skipped)
	}
	l := loop.New(o)
	p.desk.loop.Store(l)
	p.log.Info("kube-weir runs", "version", o.Version, "source", o.Source.String(), "socket", p.config.socket, "epoch", epoch)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.Run(ctx) })
	if p.config.passwords != "" {
		group.Go(func() error { followPasswords(ctx, p.config, rereadPasswords, l.Configure); return nil })
	}
	return group.Wait()
}
