package health

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// sourcePorts of associations are the dynamic ports (RFC 6335 section 6).
const (
	firstSourcePort = 49152
	lastSourcePort  = 65535
)

// sctp asks for an association and takes nothing up. The answer is ended by
// ABORT, so that firewalls on the way forget it; the endpoint keeps no state
// (RFC 9260, 5.1). A kernel that has SCTP sees the INIT ACK too, and finds no
// association for it: without an endpoint of its own on that port it answers
// ABORT with the peer's tag, byte for byte what this probe sends, and with one
// it discards the chunk (5.2.3). The peer takes the first ABORT or none, as it
// has no association yet. Should the kernel have one between the same two
// ports, the peer takes the INIT for a restart and changes nothing before a
// COOKIE ECHO (5.2.2); the ABORT carries the new tag and is not for the old one.
func (n *Network) sctp(ctx context.Context, t Target) (time.Duration, error) {
	a, err := n.associate(t)
	if err != nil {
		return 0, err
	}
	return a.initiate(ctx, t.Address.Addr())
}

// initiate sends INIT, waits for INIT ACK and ends with ABORT.
func (a association) initiate(ctx context.Context, peer netip.Addr) (time.Duration, error) {
	s, end, err := dialRaw(ctx, unix.IPPROTO_SCTP, peer)
	if err != nil {
		return 0, unreachable(ctx, "send INIT", err)
	}
	defer end()
	x := &initiation{association: a}
	latency, err := s.ask(a.init(rand.Uint32()), x)
	if err != nil {
		return 0, unreachable(ctx, "send INIT", err)
	}
	_ = s.send(a.abort(x.peer)) // lost, it changes nothing for the endpoint
	return latency, nil
}

// associate chooses a port that no flow uses and a tag that nobody can guess.
func (n *Network) associate(t Target) (association, error) {
	for range portTries {
		port := uint16(firstSourcePort + rand.IntN(lastSourcePort-firstSourcePort+1))
		if !n.taken(t, port) {
			return association{source: port, destination: t.Address.Port(), tag: rand.Uint32N(1<<32-1) + 1}, nil
		}
	}
	return association{}, noPort()
}

// errAborted is an ABORT in answer to INIT.
var errAborted = errors.New("ABORT, nobody listens")

// initiation waits for the answer to an INIT.
type initiation struct {
	association
	peer uint32 // its initiate tag, when it has accepted
}

func (i *initiation) read(packet []byte) (bool, error) {
	what, peer := i.association.read(packet)
	switch what {
	case accepted:
		i.peer = peer
		return true, nil
	case refused:
		return true, errAborted
	}
	return false, nil
}
