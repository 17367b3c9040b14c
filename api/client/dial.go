package client

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/weir-lb/weir/api/transport"
)

// dialTLS connects with the certificates as they are on disk now.
func dialTLS(ctx context.Context, files transport.Files, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	conf, err := files.Client(host)
	if err != nil {
		return nil, err
	}
	return (&tls.Dialer{Config: conf}).DialContext(ctx, network, addr)
}
