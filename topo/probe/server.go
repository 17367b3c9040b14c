package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/topo/probe/rawsctp"
)

// ServerOptions of Listen.
type ServerOptions struct {
	// Name is what answers carry. Required; no spaces.
	Name string
	// Addresses says where to serve each protocol: ":80" or "10.0.0.1:80", IPv4. Port 0 lets the kernel choose, but for
	// SCTP.
	Addresses map[Protocol]string
	// Enter is the namespace to serve in. Optional.
	Enter Enter
	// MTU of the path in bytes, for SCTP. Optional, 1500.
	MTU int
}

// service is one protocol of a Server.
type service interface {
	addr() netip.AddrPort
	// serve runs until ctx ends and waits for all that it started.
	serve(ctx context.Context) error
	close() error
}

// Server answers requests on several protocols. Listen makes one; Run serves.
type Server struct {
	services map[Protocol]service
}

// Listen opens every socket, so that clients may connect from now on; Run answers them. On an error nothing stays open.
func Listen(o ServerOptions) (*Server, error) {
	if o.Name == "" || strings.ContainsAny(o.Name, " \n") {
		return nil, fmt.Errorf("serve as %q: want a name without spaces", o.Name)
	}
	s := &Server{services: map[Protocol]service{}}
	for protocol, address := range o.Addresses {
		at, err := parseListen(address)
		if err == nil {
			var one service
			if one, err = listen(o, protocol, at); err == nil {
				s.services[protocol] = one
			}
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("serve %s: %w", protocol, err), s.Close())
		}
	}
	return s, nil
}

// parseListen reads an address whose host may be left out.
func parseListen(s string) (netip.AddrPort, error) {
	if strings.HasPrefix(s, ":") {
		s = "0.0.0.0" + s
	}
	at, err := netip.ParseAddrPort(s)
	if err != nil || !at.Addr().Is4() {
		return netip.AddrPort{}, fmt.Errorf("listen address %q: want :PORT or an IPv4 ADDRESS:PORT", s)
	}
	return at, nil
}

func listen(o ServerOptions, p Protocol, at netip.AddrPort) (service, error) {
	switch p {
	case HTTP, TCP:
		l, err := listenTCP(o.Enter, at)
		if err != nil {
			return nil, err
		}
		if p == HTTP {
			return newHTTPService(o.Name, l), nil
		}
		return &tcpService{o.Name, l}, nil
	case UDP:
		return listenUDP(o, at)
	case SCTP:
		return listenSCTP(o, at)
	}
	return nil, fmt.Errorf("unknown protocol %q; use http, tcp, udp or sctp", p)
}

// Addr is where the protocol is served; invalid when it is not.
func (s *Server) Addr(p Protocol) netip.AddrPort {
	if one, ok := s.services[p]; ok {
		return one.addr()
	}
	return netip.AddrPort{}
}

// SCTPStats returns what the SCTP stack counted, among it the packets dropped for a wrong checksum.
func (s *Server) SCTPStats() rawsctp.Stats {
	if one, ok := s.services[SCTP].(*sctpService); ok {
		return one.stack.Stats()
	}
	return rawsctp.Stats{}
}

// Run serves until ctx ends, then closes every socket and connection and waits for their goroutines. It returns nil at
// ctx's end, else the error that ended a protocol, which ends the others too.
func (s *Server) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for protocol, one := range s.services {
		group.Go(func() error {
			err := one.serve(ctx)
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("serve %s on %s: %w", protocol, one.addr(), err)
			}
			return nil
		})
	}
	return errors.Join(group.Wait(), s.Close())
}

// Close closes the sockets of a Server that is not Run.
func (s *Server) Close() error {
	var errs []error
	for _, one := range s.services {
		if err := one.close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
