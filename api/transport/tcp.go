package transport

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
)

// ListenTCP listens on addr, "host:port" with a literal address. With
// certificates every connection is mutual TLS. Without them only this machine
// may connect: an unspecified address becomes loopback, any other address that
// is not loopback is an error. Read Addr of the listener for the outcome.
func ListenTCP(addr string, files Files) (net.Listener, error) {
	ap, err := parseListen(addr)
	if err != nil {
		return nil, err
	}
	secure, err := files.Given()
	if err != nil {
		return nil, err
	}
	if !secure {
		if ap, err = loopback(ap); err != nil {
			return nil, err
		}
		return net.Listen("tcp", ap.String())
	}
	conf, err := files.Server()
	if err != nil {
		return nil, err
	}
	return tls.Listen("tcp", ap.String(), conf)
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
