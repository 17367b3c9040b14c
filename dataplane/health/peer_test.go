package health

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/dataplane/internal/nstest"
	"github.com/weir-lb/weir/internal/waittest"
)

// peer is an SCTP host that stands on a raw socket: it knows INIT and ABORT,
// which is all that probes say.
type peer struct {
	conn *net.IPConn

	mu sync.Mutex
	// listens has the ports that accept; on others INIT is aborted, unless
	// the peer is mute.
	listens map[uint16]bool
	mute    bool
	// aborts are the ABORTs that came, by the tag that they carry.
	aborts map[uint32]int
	damage bool
}

const peerTag = 0x77

// newPeer starts a peer on all addresses of host that ends with the test, or when
// its connection is closed.
func newPeer(t *testing.T, host *nstest.Namespace, ports ...uint16) *peer {
	t.Helper()
	p := &peer{listens: map[uint16]bool{}, aborts: map[uint32]int{}}
	for _, port := range ports {
		p.listens[port] = true
	}
	host.Do(t, func() {
		var err error
		if p.conn, err = net.ListenIP("ip4:132", nil); err != nil {
			t.Errorf("listen for SCTP: %v", err)
		}
	})
	ended := make(chan struct{})
	t.Cleanup(func() { p.conn.Close(); <-ended })
	go func() {
		defer close(ended)
		buffer := make([]byte, maxPacket)
		for {
			n, _, _, from, err := p.conn.ReadMsgIP(buffer, nil) // with its IPv4 header
			if err != nil {
				return
			}
			if answer := p.answer(buffer[4*(buffer[0]&15) : n]); answer != nil {
				asked := unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte(buffer[16:20])})
				_, _, _ = p.conn.WriteMsgIP(answer, asked, from)
			}
		}
	}()
	return p
}

func (p *peer) set(change func(*peer)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *peer) answer(packet []byte) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(packet) < sctpHeader+sctpChunk || !intact(packet) || binary.LittleEndian.Uint32(packet[8:]) == 0 {
		return nil // an INIT without a checksum is none
	}
	verification := binary.BigEndian.Uint32(packet[4:])
	if packet[sctpHeader] == chunkAbort {
		p.aborts[verification]++
	}
	if packet[sctpHeader] != chunkInit || verification != 0 || p.mute {
		return nil
	}
	asked := association{source: binary.BigEndian.Uint16(packet), destination: binary.BigEndian.Uint16(packet[2:])}
	tag := binary.BigEndian.Uint32(packet[sctpHeader+sctpChunk:])
	kind, body := byte(chunkAbort), []byte(nil)
	if p.listens[asked.destination] {
		kind, body = chunkInitAck, initAckBody(peerTag)
	}
	answer := reply(asked, tag, kind, 0, body)
	if p.damage {
		answer[8] ^= 1
	}
	return answer
}

// aborted waits until n probes were ended by ABORT with the peer's own tag.
func (p *peer) aborted(t *testing.T, n int) {
	t.Helper()
	waittest.Eventually(t, func() string {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.aborts[peerTag] != n {
			return fmt.Sprintf("ABORTs by tag: %v, want %d of %d", p.aborts, n, peerTag)
		}
		return ""
	})
}

func at(address string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(address), port)
}
