package rawsctp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/pion/logging"
	pion "github.com/pion/sctp"
)

// ipv4Header is the length of an IPv4 header without options, bytes.
const ipv4Header = 20

// maxRTO bounds the retransmission timeout, milliseconds: scenarios lose packets on purpose and do not wait minutes.
const maxRTO = 1000

// maxMessage is the longest message that Send takes, bytes.
const maxMessage = 65536

// sentOnce marks messages that are not sent again. It is a payload protocol identifier of nobody's (RFC 9260, section 3.3.1).
const sentOnce pion.PayloadProtocolIdentifier = 0x77656972

// ErrAborted says that the peer, or something on the way, answered with ABORT.
var ErrAborted = errors.New("association aborted by the peer")

// Association is an established SCTP association with one stream each way. Send and Receive may be used at the same time.
type Association struct {
	conn   *conn
	pion   *pion.Association
	stream *pion.Stream
	buf    []byte
}

// options of every association. pion's warnings are dropped: the errors that callers get say as much.
func (s *Stack) options(c *conn) []pion.AssociationOption {
	quiet := &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}
	return []pion.AssociationOption{
		pion.WithNetConn(c), pion.WithLoggerFactory(quiet), pion.WithName(c.key.local.String()),
		pion.WithMTU(uint32(s.mtu - ipv4Header)), pion.WithRTOMax(maxRTO), pion.WithMaxMessageSize(maxMessage),
	}
}

// Dial makes an association. Of local, an unspecified address is chosen by the kernel's routes and port 0 is an ephemeral
// port. It fails with ErrAborted when refused, and with ctx's error when nothing answers in time.
func (s *Stack) Dial(ctx context.Context, local, remote netip.AddrPort) (*Association, error) {
	if !local.Addr().IsValid() || local.Addr().IsUnspecified() {
		var addr netip.Addr
		err := s.enter(func() (err error) {
			addr, err = sourceFor(remote.Addr())
			return err
		})
		if err != nil {
			return nil, err
		}
		local = netip.AddrPortFrom(addr, local.Port())
	}
	c, err := s.claim(local, remote)
	if err != nil {
		return nil, err
	}
	var opts []pion.ClientOption
	for _, o := range s.options(c) {
		opts = append(opts, o)
	}
	assoc, err := pion.ClientContext(ctx, opts...)
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("associate %s with %s: %w", c.key.local, remote, c.explain(err))
	}
	stream, err := assoc.OpenStream(0, pion.PayloadTypeWebRTCBinary)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open stream to %s: %w", remote, err), assoc.Close())
	}
	return &Association{conn: c, pion: assoc, stream: stream}, nil
}

// explain adds what the conn knows to an error of pion.
func (c *conn) explain(err error) error {
	if c.aborted.Load() {
		return ErrAborted
	}
	return errors.Join(err, c.sendError())
}

// Local and Remote are the addresses as this side sees them.
func (a *Association) Local() netip.AddrPort { return a.conn.key.local }

// Remote is the peer's address and port.
func (a *Association) Remote() netip.AddrPort { return a.conn.key.remote }

// SendOnce has no message from now on sent again (RFC 3758), so that one which the network loses is missing, and one that is late
// is not. The peer, an Association too, does likewise from the first that it gets.
//
// Counting what is sent again tells less: pion's timers fire after 200 ms and two round trips, which a busy machine makes too
// short, and as a receiver pion never names what came twice.
func (a *Association) SendOnce() {
	a.stream.SetDefaultPayloadType(sentOnce)
	a.stream.SetReliabilityParams(false, pion.ReliabilityTypeRexmit, 0)
}

// Send queues one message of at most 65 536 bytes.
func (a *Association) Send(message []byte) error {
	if _, err := a.stream.Write(message); err != nil {
		return fmt.Errorf("send to %s: %w", a.Remote(), a.conn.explain(err))
	}
	return nil
}

// Receive returns the next message, io.EOF after the peer's graceful close, and ctx's error at its end. One caller at a
// time; the message is the caller's.
func (a *Association) Receive(ctx context.Context) ([]byte, error) {
	if a.buf == nil {
		a.buf = make([]byte, maxMessage)
	}
	if err := a.stream.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = a.stream.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	n, kind, err := a.stream.ReadSCTP(a.buf)
	switch {
	case err == nil:
		if kind == sentOnce {
			a.SendOnce()
		}
		return append([]byte(nil), a.buf[:n]...), nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("receive from %s: %w", a.Remote(), errors.Join(ctx.Err(), a.conn.sendError()))
	case a.conn.aborted.Load():
		return nil, fmt.Errorf("receive from %s: %w", a.Remote(), ErrAborted)
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	}
	return nil, fmt.Errorf("receive from %s: %w", a.Remote(), err)
}

// Shutdown closes gracefully (SHUTDOWN, SHUTDOWN ACK, SHUTDOWN COMPLETE) after all that was sent has been acknowledged.
// When the peer does not answer before ctx ends the association is cut and ctx's error returned.
func (a *Association) Shutdown(ctx context.Context) error {
	err := a.pion.Shutdown(ctx)
	closeErr := a.pion.Close()
	if err != nil {
		return fmt.Errorf("shut down %s: %w", a.Remote(), err)
	}
	return closeErr
}

// Abort sends ABORT and closes.
func (a *Association) Abort(reason string) error {
	a.pion.Abort(reason)
	return a.pion.Close()
}

// Close cuts the association without a word to the peer.
func (a *Association) Close() error { return a.pion.Close() }
