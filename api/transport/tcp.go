package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// ListenTCP listens on addr, "host:port" with a literal address. With
// certificates every connection is mutual TLS. Without them only this machine
// may connect: an unspecified address becomes loopback, any other address that
// is not loopback is an error. Read Addr of the listener for the outcome.
func ListenTCP(addr string, c Credentials) (net.Listener, error) {
	ap, err := parseListen(addr)
	if err != nil {
		return nil, err
	}
	secure, err := c.Given()
	if err != nil {
		return nil, err
	}
	if !secure {
		if ap, err = loopback(ap); err != nil {
			return nil, err
		}
		return net.Listen("tcp", ap.String())
	}
	conf, err := server(c)
	if err != nil {
		return nil, err
	}
	return tls.Listen("tcp", ap.String(), conf)
}

// lookAgain is how often AwaitTCP looks for credentials.
const lookAgain = time.Second

// AwaitTCP is ListenTCP for credentials that need not be there yet. It looks
// for them every second, calls waits whenever the reason for which there are
// none is another, and returns nil and no error when ctx ends before.
func AwaitTCP(ctx context.Context, addr string, c Credentials, waits func(error)) (net.Listener, error) {
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	told := ""
	for {
		why := Lacking(c)
		if why == nil {
			return ListenTCP(addr, c)
		}
		if why.Error() != told {
			told = why.Error()
			waits(why)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, nil
		}
	}
}

// Lacking says what keeps credentials that are asked for from being used now;
// nil where nothing does, or none are asked for.
func Lacking(c Credentials) error {
	if secure, err := c.Given(); err != nil || !secure {
		return err
	}
	_, _, err := c.Load()
	return err
}

func parseListen(addr string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(addr)
	if err == nil && host == "" {
		addr = net.JoinHostPort("::", port)
	}
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("listen on %q: not ADDRESS:PORT; give for example 0.0.0.0:11111", addr)
	}
	return ap, nil
}

// loopback narrows ap to what is safe without certificates.
func loopback(ap netip.AddrPort) (netip.AddrPort, error) {
	switch a := ap.Addr(); {
	case a.IsLoopback():
		return ap, nil
	case a.IsUnspecified():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), ap.Port()), nil
	}
	return netip.AddrPort{}, fmt.Errorf("listen on %s: without certificates only loopback is allowed; give --tls-cert, --tls-key and --tls-ca", ap)
}
