package flow

import (
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bpf"
)

// Time-outs of idle connections. A connection is idle when neither direction
// was seen. v1.Service.IdleTimeout replaces those of established flows.
const (
	// tcpEstablished is the least that RFC 5382 (REQ-5) lets a NAT keep an
	// idle connection; keepalives come every 2 hours by default.
	tcpEstablished = 2*time.Hour + 4*time.Minute
	// tcpClosing is TCP_TIMEWAIT_LEN of Linux: as long as an end answers to
	// what is left of the connection. A new connection may take the entry
	// over at once. RFC 5382 (REQ-5) asks a NAT for 4 minutes, and conntrack
	// has 120 s, because a packet that finds nothing there may open a hole;
	// here it is dropped.
	tcpClosing = 60 * time.Second
	// tcpHalfOpen sees four repeated SYNs (1, 3, 7, 15 s; RFC 6298). Later ones
	// make a new flow. It bounds how long a SYN flood stays; conntrack has 120
	// and 60 s (nf_conntrack_tcp_timeout_syn_sent, _syn_recv).
	tcpHalfOpen = 30 * time.Second

	// udpEstablished is what RFC 4787 (REQ-5) recommends as the default.
	udpEstablished = 5 * time.Minute
	// udpHalfOpen is nf_conntrack_udp_timeout: nobody answered.
	udpHalfOpen = 30 * time.Second

	// sctpEstablished is nf_conntrack_sctp_timeout_established: heartbeats
	// every 30 s that go unanswered five times, and RTO.Max of 60 s (RFC 9260
	// section 16).
	sctpEstablished = 210 * time.Second
	// sctpClosing is nf_conntrack_sctp_timeout_closed.
	sctpClosing = 10 * time.Second
	// sctpHalfOpen sees the INIT repeated after 3, 9 and 21 s (RFC 9260, T1-init).
	sctpHalfOpen = 30 * time.Second

	// copyLag is how much later than its entry says a flow may have been seen: by
	// a CPU's copy of it, which lives for CACHE_TICKS (bpf/lib/cache.h), 2.5 s
	// where HZ is 100.
	copyLag = 3 * time.Second

	// promoted is how long the entry of a half-open flow stays after the flow
	// has moved: whoever missed it in the one table just before finds it here.
	promoted = 10 * time.Second
)

// timeout returns when an idle entry goes. Only entries in flows are
// established for long; one in flows_new with that state has moved on.
func timeout(protocol v1.Protocol, state uint8, halfOpenTable bool) time.Duration {
	if halfOpenTable && state == bpf.FlowEstablished {
		return promoted
	}
	switch protocol {
	case v1.TCP:
		return choose(state, tcpHalfOpen, tcpEstablished, tcpClosing)
	case v1.SCTP:
		return choose(state, sctpHalfOpen, sctpEstablished, sctpClosing)
	}
	return choose(state, udpHalfOpen, udpEstablished, udpHalfOpen)
}

func choose(state uint8, halfOpen, established, closing time.Duration) time.Duration {
	switch state {
	case bpf.FlowEstablished:
		return established
	case bpf.FlowClosing:
		return closing
	}
	return halfOpen
}
