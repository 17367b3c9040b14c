// Package tcpapi has a program's API answer on TCP when its certificates come
// after its start.
package tcpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net"

	"github.com/weir-lb/weir/api/transport"
)

// ServeLate waits for certificates, and then serves on addr until ctx ends.
func ServeLate(ctx context.Context, addr string, c transport.Credentials, log *slog.Logger, serve func(context.Context, ...net.Listener) error) error {
	l, err := transport.AwaitTCP(ctx, addr, c, func(why error) {
		log.Warn("api waits for certificates and answers on its socket alone", "address", addr, "error", why)
	})
	switch {
	case err != nil:
		return fmt.Errorf("listen for the API: %w", err)
	case l == nil:
		return nil
	}
	defer l.Close()
	log.Info("api listens", "address", l.Addr().String(), "tls", true)
	return serve(ctx, l)
}
