// Package gobgp runs GoBGP v4 inside the process, behind bgp.Speaker. It is
// the only package that imports GoBGP.
//
// GoBGP keeps the route selection options in package variables; several
// speakers in one process are possible because all of them use the same.
package gobgp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/server"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bgp"
)

// Options of a Speaker. The zero value is a speaker without gRPC API.
type Options struct {
	// GRPC is where the gobgp command finds the speaker, as host:port. The
	// API has no authentication: use a loopback address. Optional.
	GRPC string
	// Restarting tells the peers that we kept our forwarding state and that
	// they may keep our routes until we have announced them anew (RFC 4724).
	// Set it only if the routes of an earlier run still stand.
	Restarting bool
	// ReadmitAfter is how long a peer stays out that brought too many prefixes.
	// Optional; zero means 5 minutes.
	ReadmitAfter time.Duration
	// Logger gets GoBGP's own messages. Optional; nil discards them.
	Logger *slog.Logger
}

// Speaker implements bgp.Speaker.
type Speaker struct {
	options Options
	// changed holds a value when State may have changed.
	changed chan struct{}

	// mu guards what follows. It is held across calls into GoBGP, which
	// never waits for us.
	mu sync.Mutex
	// run is nil while the speaker is stopped.
	run *run
}

// run is one life of a GoBGP server, from Start to Stop.
type run struct {
	server *server.BgpServer
	global bgp.Global
	cancel context.CancelFunc
	// restarting is until when new peers are told that we restart, see
	// Options. A peer that is added later never knew the earlier run.
	restarting time.Time

	policy   bgp.Policy
	rules    rules
	peers    map[netip.Addr]bgp.Peer
	ads      map[netip.Prefix]v1.Advertisement
	sessions map[netip.Addr]*watched
	// shut are the peers that GoBGP does not have, for they brought too much.
	shut map[netip.Addr]shut
}

var _ bgp.Speaker = (*Speaker)(nil)

var errNotStarted = errors.New("the speaker is not started")

// New returns a speaker that does nothing yet.
func New(o Options) *Speaker {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.ReadmitAfter = cmp.Or(o.ReadmitAfter, readmitAfter)
	return &Speaker{options: o, changed: make(chan struct{}, 1)}
}

// Start implements bgp.Speaker.
func (s *Speaker) Start(ctx context.Context, g bgp.Global) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != nil && s.run.global == g {
		return nil
	}
	if err := s.stop(ctx, &api.StopBgpRequest{}); err != nil {
		return err
	}
	if err := s.probe(ctx, g); err != nil {
		return err
	}
	r, err := s.start(ctx, g)
	if err != nil {
		return err
	}
	if s.options.Restarting {
		r.restarting = time.Now().Add(bgp.RestartTime)
		// A second run, of another AS or port, has nothing that peers could
		// have kept: Stop told them to let go.
		s.options.Restarting = false
	}
	s.run = r
	return nil
}

func (s *Speaker) start(ctx context.Context, g bgp.Global) (*run, error) {
	options := []server.ServerOption{server.LoggerOption(s.options.Logger, nil)}
	if s.options.GRPC != "" {
		options = append(options, server.GrpcListenAddress(s.options.GRPC), server.GrpcOption(withoutPasswords()))
	}
	srv := server.NewBgpServer(options...)
	served := make(chan struct{})
	go func() {
		defer close(served)
		srv.Serve()
	}()

	err := srv.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{
		Asn:             g.ASN,
		RouterId:        g.RouterID.String(),
		ListenPort:      int32(g.ListenPort),
		ListenAddresses: []string{listenAddress},
		// All of the equal paths go to the kernel, see package fib.
		UseMultiplePaths: true,
	}})
	if err != nil {
		srv.Stop()
		<-served
		return nil, fmt.Errorf("start BGP as AS %d: %w", g.ASN, err)
	}

	watching, cancel := context.WithCancel(context.Background())
	r := &run{
		server: srv, global: g, cancel: cancel,
		peers:    make(map[netip.Addr]bgp.Peer),
		ads:      make(map[netip.Prefix]v1.Advertisement),
		sessions: make(map[netip.Addr]*watched),
		shut:     make(map[netip.Addr]shut),
	}
	if err := s.watch(watching, r); err != nil {
		cancel()
		srv.Stop()
		<-served
		return nil, fmt.Errorf("watch BGP sessions: %w", err)
	}
	return r, nil
}

// listenAddress is what `gobgp global` shows. IPv6 sessions need "::" beside.
const listenAddress = "0.0.0.0"

// probe names what holds an address that GoBGP is about to bind. GoBGP only
// logs when it cannot listen for gRPC, and says neither what to do about it.
func (s *Speaker) probe(ctx context.Context, g bgp.Global) error {
	bgpAddress := netip.AddrPortFrom(netip.MustParseAddr(listenAddress), g.ListenPort)
	if err := probe(ctx, bgpAddress.String()); errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("listen for BGP on %s: CAP_NET_BIND_SERVICE is missing, run as root or add it, or choose a port above 1023 with --listenBGPPort", bgpAddress)
	} else if err != nil {
		return fmt.Errorf("listen for BGP on %s: %w; stop the other speaker or choose a port with --listenBGPPort", bgpAddress, err)
	}
	if s.options.GRPC == "" {
		return nil
	}
	if err := probe(ctx, s.options.GRPC); err != nil {
		return fmt.Errorf("listen for gobgp on %s: %w; choose an address with --gobgp-api", s.options.GRPC, err)
	}
	return nil
}

func probe(ctx context.Context, address string) error {
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp4", address)
	if err == nil {
		return l.Close()
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// Watch implements bgp.Speaker.
func (s *Speaker) Watch() <-chan struct{} { return s.changed }

// Stop implements bgp.Speaker.
func (s *Speaker) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop(ctx, &api.StopBgpRequest{})
}

// Close implements bgp.Speaker.
func (s *Speaker) Close() error {
	s.settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop(context.Background(), &api.StopBgpRequest{AllowGracefulRestart: true})
}

func (s *Speaker) stop(ctx context.Context, how *api.StopBgpRequest) error {
	r := s.run
	if r == nil {
		return nil
	}
	s.run = nil
	// The watch ends first: it would outlive a server that has stopped.
	r.cancel()
	err := r.server.StopBgp(ctx, how)
	// StopBgp leaves BFD and gRPC running. Stop ends them, and fails to stop
	// BGP a second time, which it only logs.
	r.server.Stop()
	s.notify()
	if err != nil {
		return fmt.Errorf("stop BGP: %w", err)
	}
	return nil
}

// notify tells the reader of Watch. It never blocks.
func (s *Speaker) notify() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}
