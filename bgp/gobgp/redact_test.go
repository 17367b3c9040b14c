package gobgp

import (
	"strings"
	"testing"

	"github.com/osrg/gobgp/v4/api"
	"google.golang.org/protobuf/proto"

	"github.com/weir-lb/weir/bgp"
)

func TestGRPCShowsNoPassword(t *testing.T) {
	const secret = "s3cret-of-the-router"
	peer := new(run).apiPeer(bgp.Peer{Address: lb2, ASN: 64512, Password: secret})
	peer.State = &api.PeerState{AuthPassword: secret}
	for _, m := range []proto.Message{
		&api.ListPeerResponse{Peer: peer},
		&api.WatchEventResponse{Event: &api.WatchEventResponse_Peer{Peer: &api.WatchEventResponse_PeerEvent{Peer: peer}}},
	} {
		if text := redacted(m).(proto.Message); strings.Contains(prototext(text), secret) {
			t.Errorf("%T shows the password", m)
		}
		if !strings.Contains(prototext(m), secret) {
			t.Errorf("%T: the speaker's own message lost the password", m)
		}
	}
}

func prototext(m proto.Message) string {
	b, err := proto.Marshal(m)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
