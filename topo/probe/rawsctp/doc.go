// Package rawsctp is SCTP in user space over raw IPv4 sockets, for kernels without SCTP (RFC 9260). The protocol is
// github.com/pion/sctp's; this package gives it ports, addresses and checksums.
//
// A Stack holds one raw socket of a network namespace and hands every packet to the association of its four-tuple. The
// open socket alone keeps a kernel without SCTP from answering with ICMP protocol unreachable. A kernel that has SCTP
// loaded answers unknown packets with ABORT and must not be used with this package: see KernelHasSCTP.
//
// A Stack is silent about packets that belong to none of its associations, because another Stack of the same namespace
// may own them. So a closed port does not answer with ABORT.
package rawsctp
