package gobgp

import (
	"github.com/osrg/gobgp/v4/api"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	v1 "github.com/weir-lb/weir/api/v1"
)

// withoutPasswords has the gRPC API, which asks nobody who he is, leave the
// passwords out of what it says of peers.
func withoutPasswords() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.StreamInterceptor(
		func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			return handle(srv, redacting{stream})
		},
	)}
}

// redacting is a stream whose messages lose their passwords.
type redacting struct{ grpc.ServerStream }

// SendMsg implements grpc.ServerStream.
func (r redacting) SendMsg(m any) error { return r.ServerStream.SendMsg(redacted(m)) }

// redacted returns m, or a copy without passwords: m may be GoBGP's own.
func redacted(m any) any {
	switch m := m.(type) {
	case *api.ListPeerResponse:
		if m.GetPeer().GetConf().GetAuthPassword() == "" {
			break
		}
		c := proto.CloneOf(m)
		hide(c.GetPeer())
		return c
	case *api.WatchEventResponse:
		if m.GetPeer().GetPeer().GetConf().GetAuthPassword() == "" {
			break
		}
		c := proto.CloneOf(m)
		hide(c.GetPeer().GetPeer())
		return c
	}
	return m
}

func hide(p *api.Peer) {
	p.GetConf().AuthPassword = string(v1.RedactedPassword)
	if p.GetState() != nil {
		p.GetState().AuthPassword = ""
	}
}
