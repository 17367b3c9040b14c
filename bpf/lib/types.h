/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Layouts shared with Go. bpf2go generates the Go side from BTF, so nothing is
 * mirrored by hand; padding is explicit. Addresses and ports are in network
 * order and typed __be32 / __be16, everything else is in host order.
 */
#ifndef WEIR_LIB_TYPES_H
#define WEIR_LIB_TYPES_H

#include <linux/types.h>

#define NSEC_PER_SEC 1000000000ull

/* Loads and stores of several fields at once. */
typedef __u32 __attribute__((may_alias)) word_t;
typedef __u64 __attribute__((may_alias)) dword_t;

/* A packet as it comes in. One for each direction of a connection. */
struct flow_key {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 pad[3];
} __attribute__((aligned(8)));

enum flow_state {
	FLOW_HALF_OPEN = 0,   /* the client has not shown yet that it hears answers */
	FLOW_ESTABLISHED = 1, /* both ends hear each other; lives in flows */
	FLOW_CLOSING = 2,     /* FIN, RST, SHUTDOWN or ABORT was seen: may be taken over */
};

enum flow_flags {
	FLOW_REPLY = 1 << 0,	/* from the backend to the client */
	FLOW_SEEN_FIN = 1 << 1, /* this direction has closed */
	FLOW_TAKEN = 1 << 2,	/* a CPU is replacing this entry; set by compare and swap */
	FLOW_UP = 1 << 3,	/* this direction goes up the node's stack after the rewrite */
	FLOW_PAIR_UP = 1 << 4,	/* the other direction does */
	FLOW_ANSWERED = 1 << 5, /* half-open, of the client: the backend has answered */
};

/* The complete rewrite for one direction: 16 + 48 bytes with its key, one
 * cache line where it is aligned.
 */
struct flow {
	__be32 saddr; /* source after the rewrite */
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__u16 csum_addr; /* folded one's complement delta (RFC 1624) of both addresses */
	__u16 csum_port; /* same of both ports */
	__u32 backend;	 /* id, index of backends */
	__u16 service;	 /* id */
	__u8 state;	 /* enum flow_state */
	__u8 flags;	 /* enum flow_flags */
	__u32 nexthop;	 /* index of nexthops and when the FIB said so (lib/nexthop.h) */
	__u32 last_seen; /* low 32 bits of jiffies */
	__u64 packets;
	__u64 bytes;
};

/* What a packet gets: the beginning of struct flow. */
struct rewrite {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__u16 csum_addr;
	__u16 csum_port;
} __attribute__((may_alias));

_Static_assert(__builtin_offsetof(struct flow, csum_port) ==
		       __builtin_offsetof(struct rewrite, csum_port),
	       "it is");

/* A CPU's copy of an entry of flows, one cache line (lib/cache.h). */
struct cached {
	struct flow_key key; /* proto 0: none */
	struct rewrite rewrite;
	__u64 version;	 /* cache_version when flows was asked */
	__u32 filled;	 /* low 32 bits of jiffies then */
	__u32 last_seen; /* the same, of the last packet */
	__u64 bytes;	 /* that flows does not know of yet */
	__u32 packets;
	__u32 nexthop; /* as in struct flow */
};

_Static_assert(sizeof(struct cached) == 64, "a line");

/* What the copies of some keys must agree with. */
struct stamp {
	__u32 changes;
	__u32 pad;
};

/* One element: Go counts on when it has removed entries of flows that are in use. */
struct epoch {
	__u32 number;
	__u32 pad;
};

enum vip_flags {
	VIP_ACTIVE = 1 << 0,  /* this node has rank 0: it keeps the client's port if it can */
	VIP_RETIRED = 1 << 1, /* no service has it any more; flows may, and it is the kernel's */
};

/* A service address. Source ports of new flows come from [port_min, port_max],
 * host order; nodes of different rank get ranges that do not overlap.
 */
struct vip {
	__u32 flags;
	__u16 port_min;
	__u16 port_max;
};

struct service_key {
	__be32 vip;
	__be16 port;
	__u8 proto;
	__u8 pad;
};

enum service_mode {
	MODE_DEFAULT = 0,
	MODE_ONEARM = 1,
	MODE_FULLNAT = 2,
};

enum service_algorithm {
	ALGORITHM_RR = 0,
	ALGORITHM_HASH = 1,
};

enum service_flags {
	SERVICE_SOURCES = 1 << 0, /* only clients that sources has for it may come in */
};

/* slot_count 0: no backend, new flows are dropped as no_backend. */
struct service {
	__u32 id; /* index of rr_next */
	__u32 slot_offset;
	__u32 slot_count;
	__u8 mode;	/* enum service_mode */
	__u8 algorithm; /* enum service_algorithm */
	__u16 flags;	/* enum service_flags */
	__u32 affinity; /* seconds after its last new flow that a client keeps its backend */
};

/* Clients that may use a service: a prefix of both together (lib/service.h). */
struct source_key {
	__u32 bits; /* 32 of the service and those of the prefix */
	__u32 service;
	__be32 addr;
};

struct affinity_key {
	__u32 service;
	__be32 client;
};

/* Which backend a client keeps. */
struct affinity {
	__u32 backend;
	__u32 last; /* seconds of the coarse monotonic clock */
};

enum backend_flags {
	BACKEND_LOCAL = 1 << 0, /* on this node: packets for it go up the stack */
	/* On another load balancer node, which has no route to the VIP: the source is
	 * node_addr in fullnat too.
	 */
	BACKEND_LB = 1 << 1,
	BACKEND_RETIRED = 1 << 2, /* no slot names it: nobody keeps it */
};

/* A backend's id is never reused while a flow names it. */
struct backend {
	__be32 addr;
	__be16 port;
	__u16 flags;	  /* enum backend_flags */
	__be32 node_addr; /* this node's address towards the backend: source in onearm */
	__u32 service;	  /* id of the service it belongs to */
};

enum nexthop_flags {
	NEXTHOP_VALID = 1 << 0,
	NEXTHOP_XDP = 1 << 1,	   /* XDP may transmit to this device */
	NEXTHOP_REDIRECT = 1 << 2, /* by redirect alone, see DEVICE_REDIRECT */
};

/* Written by BPF from bpf_fib_lookup when a flow is created or its next hop's
 * generation is not the one in config; never written by Go.
 */
struct nexthop {
	__u32 ifindex;
	__u32 generation;
	__u16 mtu;
	__u16 flags; /* enum nexthop_flags */
	__u8 dmac[6];
	__u8 smac[6];
	__u64 claim; /* dmac and ifindex in one word: whose slot this is */
};

enum device_flags {
	DEVICE_XDP_TX = 1 << 0, /* frames that XDP transmits to it arrive */
	/* XDP_TX does not wake the other end: veth_xdp_flush asks whether the peer
	 * has an XDP program, not whether its NAPI runs. Such frames wait for the
	 * next ones, and a full ring stops the link. ndo_xdp_xmit wakes it.
	 */
	DEVICE_REDIRECT = 1 << 1,
	DEVICE_EGRESS = 1 << 2, /* the egress program sees what leaves by it */
};

/* A network interface, by ifindex. */
struct device {
	__u32 flags;
	__u32 mtu;
	__u8 mac[6]; /* frames to others create no flow; all zero: not known, no check */
	__u8 pad[2];
	__be32 addr; /* source of ICMP errors that leave by it; 0: it has none */
};

/* One element. Go bumps nexthop_generation on every change of a route, a
 * neighbour or a link; flows then look their next hop up again. Source ports of new
 * flows whose source is an address of this node come from [own_port_min,
 * own_port_max], host order.
 */
struct config {
	__u32 nexthop_generation;
	__u16 own_port_min;
	__u16 own_port_max;
};

/* Argument of the program read_clock: both clocks read at once. */
struct clock {
	__u64 jiffies;
	__u64 nanoseconds; /* CLOCK_MONOTONIC */
};

#endif /* WEIR_LIB_TYPES_H */
