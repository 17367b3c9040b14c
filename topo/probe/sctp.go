package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/weir-lb/weir/topo/probe/rawsctp"
)

// idleTimeout ends associations whose client went away without a word.
const idleTimeout = 2 * time.Minute

type sctpService struct {
	name     string
	stack    *rawsctp.Stack
	listener *rawsctp.Listener
}

func listenSCTP(o ServerOptions, at netip.AddrPort) (*sctpService, error) {
	stack, err := rawsctp.Open(rawsctp.Config{MTU: o.MTU, Enter: o.Enter})
	if err != nil {
		return nil, err
	}
	listener, err := stack.Listen(at)
	if err != nil {
		return nil, errors.Join(err, stack.Close())
	}
	return &sctpService{o.Name, stack, listener}, nil
}

func (s *sctpService) addr() netip.AddrPort { return s.listener.Addr() }
func (s *sctpService) close() error         { return errors.Join(s.listener.Close(), s.stack.Close()) }

func (s *sctpService) serve(ctx context.Context) error {
	var associations sync.WaitGroup
	defer associations.Wait()
	for {
		a, err := s.listener.Accept(ctx)
		if err != nil {
			return err
		}
		associations.Go(func() {
			defer a.Close()
			for s.answer(ctx, a) == nil {
			}
		})
	}
}

func (s *sctpService) answer(ctx context.Context, a *rawsctp.Association) error {
	ctx, cancel := context.WithTimeout(ctx, idleTimeout)
	defer cancel()
	message, err := a.Receive(ctx)
	if err != nil {
		return err
	}
	return a.Send(append(greet(s.name, a.Remote()), message...))
}

type sctpSession struct{ association *rawsctp.Association }

func (c *Client) openSCTP(ctx context.Context, r Request) (transport, error) {
	stack, err := c.sctpStack()
	if err != nil {
		return nil, err
	}
	a, err := stack.Dial(ctx, r.Source, r.Target)
	if err != nil {
		return nil, err
	}
	if r.SendOnce {
		a.SendOnce()
	}
	return &sctpSession{a}, nil
}

func (s *sctpSession) local() netip.AddrPort { return s.association.Local() }

func (s *sctpSession) exchange(ctx context.Context, payload []byte) (string, error) {
	if err := s.association.Send(payload); err != nil {
		return "", err
	}
	message, err := s.association.Receive(ctx)
	if err != nil {
		return "", err
	}
	greeting, echo, _ := bytes.Cut(message, []byte("\n"))
	if !bytes.Equal(echo, payload) {
		return "", fmt.Errorf("%w: the echo differs from the %d bytes sent", ErrWrongAnswer, len(payload))
	}
	return string(greeting), nil
}

func (s *sctpSession) close(ctx context.Context) error { return s.association.Shutdown(ctx) }
