// Package health probes backends and tells which of them answer.
//
// Monitor keeps a schedule of endpoints and a verdict on each; Network is the
// Prober that asks them over the network:
//
//   - TCP: a SYN; a SYN ACK is healthy, a reset, an ICMP error or silence is
//     not. The handshake ends there with a reset, so that the server's
//     application never sees the probe.
//   - UDP: a datagram; an ICMP error is unhealthy. Any answer is healthy, and so
//     is silence: most servers do not answer what they do not understand.
//   - SCTP: an INIT over a raw IP socket, whether or not the kernel has SCTP; an
//     INIT ACK is healthy and is answered by ABORT, an ABORT, an ICMP error or
//     silence is not.
//
// A host sends few ICMP errors: Linux one a second to each destination, after
// a burst of six (icmp_ratelimit). More than about five dead UDP endpoints
// behind one address therefore look healthy some of the time.
//
// A probe goes to a backend's own address and comes from this node's. In mode
// onearm flows do too, so a probe takes no source port that a flow uses
// towards the same backend (Network.Taken): the answer would be the client's.
package health
