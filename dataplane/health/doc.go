// Package health probes backends and tells which of them answer.
//
// Monitor keeps a schedule of endpoints and a verdict on each, File keeps the
// verdicts over a restart, and Network is the Prober that asks over the network:
//
//   - tcp: a SYN; a SYN ACK is healthy, a reset, an ICMP error or silence is
//     not. The handshake ends there with a reset, so that the server's
//     application never sees the probe.
//   - udp: a datagram; an ICMP error is unhealthy. Any answer is healthy, and so
//     is silence: most servers do not answer what they do not understand. With
//     an expected answer silence is unhealthy.
//   - sctp: an INIT over a raw IP socket, whether or not the kernel has SCTP; an
//     INIT ACK is healthy and is answered by ABORT, an ABORT, an ICMP error or
//     silence is not.
//   - http, https: a GET; a status below 400 is healthy where the body contains
//     what is expected. Redirections are not followed, certificates not
//     verified, as the kubelet's probes do it.
//   - ping: an ICMP echo over a raw socket. It asks the host, not the service.
//
// A host sends few ICMP errors: Linux one a second to each destination, after
// a burst of six (icmp_ratelimit). A dead UDP endpoint that gets none looks
// healthy. So those that are down or in doubt are asked only while their host
// has errors left (lane); many dead ones behind one address are found one after
// the other, ten in half a minute, and are asked less often from then on.
//
// A probe goes to a backend's own address and comes from this node's. In mode
// onearm flows do too, so a probe takes no source port that a flow uses
// towards the same backend (Network.Taken): the answer would be the client's.
package health
