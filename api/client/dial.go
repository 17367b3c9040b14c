package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"

	"github.com/weir-lb/weir/api/transport"
)

// dialTLS connects with the certificates as they are now. The server's must
// carry name, or where that is empty the host that is dialled.
func dialTLS(ctx context.Context, c transport.Credentials, name, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	conf, err := transport.Client(c, cmp.Or(name, host))
	if err != nil {
		return nil, err
	}
	return (&tls.Dialer{Config: conf}).DialContext(ctx, network, addr)
}
