/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Making the two entries of a new flow. The reply entry in flows_new is the
 * reservation of its tuple: BPF_NOEXIST decides between CPUs that want the same
 * one. The client's entry, inserted last, decides between CPUs that saw packets of
 * the same client at once: who comes second gives its reservation back and takes
 * the first one's mapping.
 */
#ifndef WEIR_LIB_CREATE_H
#define WEIR_LIB_CREATE_H

#include "lib/local.h"
#include "lib/nexthop.h"
#include "lib/service.h"

/* The client's port and that many less one of the range are tried. At 90 %
 * of the range in use all of them fail for one flow in 700 000: DROP_NO_PORT.
 */
#define PORT_TRIES 128

_Static_assert(MAX_SERVICES <= 1 << 16, "a service's id fits a flow");

#define PORT_MIN_DEFAULT 1024
#define PORT_MAX_DEFAULT 65535

struct creation {
	struct flow_key key; /* what the client sends */
	struct flow flow;
	struct flow_key reply_key; /* what the backend answers */
	__u16 port_min, port_max;
	__u32 port_state;
	__u8 keep_port;	     /* the client's port is the first to be tried */
	__u8 share_with_vip; /* the source address is the VIP */
	__u8 midstream;	     /* the connection has begun: no other port will do */
	__u8 pad[5];
};

enum reservation {
	RESERVED, /* the tuple is ours, by an entry in flows_new */
	RESTORED, /* the reply entry was in flows, its pair is there again */
	BUSY,	  /* another client has it */
	FULL,
};

/* A source port to try, in network order. The sequence depends only on the flow. */
static __always_inline __be16 port_candidate(struct creation *creation, __u32 round)
{
	__u32 min = creation->port_min ?: PORT_MIN_DEFAULT;
	__u32 max = creation->port_max ?: PORT_MAX_DEFAULT;
	__u32 range = max >= min ? max - min + 1 : 1;

	if (!round && creation->keep_port)
		return creation->key.sport;
	creation->port_state = creation->port_state * 1664525 + 1013904223;
	return bpf_htons(min + ((creation->port_state >> 16) * range >> 16));
}

static __always_inline __u32 port_seed(const struct flow_key *key)
{
	__u32 seed = key->saddr * 0x9e3779b1;

	seed = (seed ^ key->daddr ^ seed >> 15) * 0x85ebca77;
	seed ^= (__u32)key->sport << 16 | key->dport;
	return (seed ^ seed >> 13) * 0xc2b2ae3d;
}

/* One's complement has two zeros; 0 says that nothing changes. */
static __always_inline __u16 csum_normal(__u32 delta)
{
	__u16 folded = csum_fold(delta);

	return folded == 0xffff ? 0 : folded;
}

/* Which source ports a flow may have. Nodes share the VIP as a source address, and so
 * its ports. This node's own address its sockets have too: the ports in config are none
 * that the kernel would give them.
 */
static __always_inline void creation_set_ports(struct creation *creation, const struct vip *vip,
					       __be32 node_addr)
{
	__u16 port = bpf_ntohs(creation->key.sport);
	const struct config *node;
	__u32 zero = 0;

	creation->port_min = vip->port_min;
	creation->port_max = vip->port_max;
	creation->share_with_vip = creation->flow.saddr == creation->key.daddr;
	creation->keep_port =
		creation->midstream || !creation->share_with_vip || vip->flags & VIP_ACTIVE;
	if (creation->flow.saddr != node_addr)
		return;
	node = bpf_map_lookup_elem(&config, &zero);
	if (!node)
		return;
	creation->port_min = node->own_port_min;
	creation->port_max = node->own_port_max;
	creation->keep_port = port >= creation->port_min && port <= creation->port_max;
}

static __always_inline void creation_set_port(struct creation *creation, __be16 port)
{
	const struct flow_key *key = &creation->key;
	struct flow *flow = &creation->flow;

	flow->sport = port;
	flow->csum_port =
		csum_normal(csum_delta16(key->sport, port) + csum_delta16(key->dport, flow->dport));
	flow_pair_key(flow, key->proto, &creation->reply_key);
}

/* Frees the tuple of an entry in flows whose connection is over, and with it its
 * other direction, unless that has become another connection's meanwhile.
 */
static __always_inline bool displace(const struct flow_key *reply_key, struct flow *dead)
{
	struct flow_key client;
	struct flow *forward;

	if (!flow_claim(dead, FLOW_CLOSING))
		return false;
	flow_pair_key(dead, reply_key->proto, &client);
	forward = bpf_map_lookup_elem(&flows, &client);
	if (forward && flow_is_pair_of(reply_key, forward) && flow_claim(forward, forward->state))
		flow_delete(&flows, &client);
	flow_delete(&flows, reply_key);
	return true;
}

/* Whether the entry old of flows_new, in state, is of a connection that is over.
 * Half-open ones are not, nor is a reservation that another CPU makes over a
 * closed flow of somebody else at this moment. Where a connection was promoted,
 * flows says whether it lives; if it is not there it has been swept.
 */
static __always_inline bool is_over(const struct flow_key *reply_key, const struct flow *old,
				    __u8 state)
{
	const struct flow *promoted;

	if (state == FLOW_HALF_OPEN)
		return false;
	promoted = bpf_map_lookup_elem(&flows, reply_key);
	if (!promoted)
		return true;
	return promoted->state == FLOW_CLOSING && flow_is_same(old, promoted);
}

/* Reserves a tuple that flows_new has an entry of already. */
static __always_inline enum reservation reserve_again(const struct creation *creation,
						      const struct flow *reply)
{
	struct flow *old = bpf_map_lookup_elem(&flows_new, &creation->reply_key);
	__u8 state;

	if (!old)
		return BUSY;
	state = *(volatile __u8 *)&old->state;
	if (!is_over(&creation->reply_key, old, state)) {
		/* This client's own: orphaned, or made by another CPU just now. */
		return flow_is_pair_of(&creation->key, old) ? RESERVED : BUSY;
	}
	if (!flow_claim(old, state))
		return BUSY;
	if (bpf_map_update_elem(&flows_new, &creation->reply_key, reply, BPF_ANY))
		return FULL;
	return RESERVED;
}

/* The reply entry is in flows and its pair is missing there. */
static __always_inline enum reservation restore(struct creation *creation)
{
	int error;

	creation->flow.state = FLOW_ESTABLISHED;
	error = bpf_map_update_elem(&flows, &creation->key, &creation->flow, BPF_NOEXIST);
	flow_retire_reply(&flows_new, &creation->reply_key, &creation->key);
	return error && error != -EEXIST ? FULL : RESTORED;
}

/* Reserves the tuple that creation's answers will have. */
static __always_inline enum reservation reserve(struct creation *creation)
{
	enum reservation result = RESERVED;
	struct flow *established;
	struct flow reply;
	int error;

	flow_reverse(&creation->key, &creation->flow, &reply);
	error = bpf_map_update_elem(&flows_new, &creation->reply_key, &reply, BPF_NOEXIST);
	if (error == -EEXIST)
		result = reserve_again(creation, &reply);
	else if (error)
		result = FULL;
	if (result != RESERVED)
		return result;

	established = bpf_map_lookup_elem(&flows, &creation->reply_key);
	if (!established)
		return RESERVED;
	if (established->state != FLOW_CLOSING && flow_is_pair_of(&creation->key, established))
		return restore(creation);
	if (displace(&creation->reply_key, established))
		return RESERVED;
	flow_retire_reply(&flows_new, &creation->reply_key, &creation->key);
	return BUSY;
}

/* Inserts the client's entry. If one is there already, its mapping stands and
 * the reservation goes back, unless it is the same: COUNTER_IN.
 */
static __always_inline enum counter commit(const struct creation *creation)
{
	const struct flow *present = bpf_map_lookup_elem(&flows, &creation->key);
	int error = 0;

	if (!present) {
		error = bpf_map_update_elem(&flows_new, &creation->key, &creation->flow,
					    BPF_NOEXIST);
		if (!error)
			return COUNTER_FORWARDED;
		present = bpf_map_lookup_elem(&flows_new, &creation->key);
	}
	if (present && flow_is_pair_of(&creation->reply_key, present))
		return COUNTER_IN;
	flow_retire_reply(&flows_new, &creation->reply_key, &creation->key);
	return present ? COUNTER_IN : DROP_FLOWS_FULL;
}

/* Reserves a source port, the round-th of the flow's sequence, and sets the rest of
 * creation by it. A port that is a frontend of the VIP is never the VIP's source
 * port: answers to it and requests for it would look the same.
 * A global function, so that the verifier looks at it once and not in each round.
 * It works on a copy, because Linux 6.1 takes keys and values of maps from its own
 * stack, but not from memory that a global function was handed.
 */
__noinline enum reservation try_port(struct creation *shared, __u32 round)
{
	struct creation creation;
	enum reservation reservation;
	__be16 port;

	if (!shared)
		return FULL;
	creation = *shared;
	port = port_candidate(&creation, round);
	shared->port_state = creation.port_state;
	if (!port)
		return BUSY;
	if (creation.share_with_vip && service_find(creation.flow.saddr, port, creation.key.proto))
		return BUSY;
	creation_set_port(&creation, port);
	reservation = reserve(&creation);
	*shared = creation;
	return reservation;
}

/* commit for a flow whose next hop is asked for before others see it: its connection
 * goes that way until the FIB changes. What the FIB refuses the packet is told when it
 * is sent.
 */
static __noinline enum counter publish(ctx_t *ctx, const struct packet *packet,
				       struct creation *creation, struct flow *made)
{
	struct route route = {};

	if (!is_delivered(packet, &creation->flow))
		nexthop_resolve(ctx, packet, &creation->flow, &route);
	*made = creation->flow;
	return commit(creation);
}

/* Whether a packet, which is of no flow here, is of a connection that has begun already. */
static __always_inline bool is_midstream(const struct packet *packet)
{
	return packet->key.proto != IPPROTO_UDP && !(packet->signals & SIGNAL_FIRST);
}

/* Whether all nodes give a flow to backend this source, so that a connection that began
 * by another one is the same to the backend.
 */
static __always_inline bool is_shared(const struct backend *backend, __be32 source)
{
	return !(backend->flags & BACKEND_LOCAL) && source != backend->node_addr;
}

/* Makes a flow for a first packet, or for one in the middle of a connection if it can be
 * the flow that the connection has elsewhere: an answer to any other would reset it. No
 * other node has another port for it, unless two clients had chosen the same.
 * COUNTER_FORWARDED: flows_new has it now, and made is
 * its copy; COUNTER_IN: it stands in flows or flows_new already; else why not.
 */
static __noinline enum counter create(ctx_t *ctx, const struct packet *packet,
				      const struct vip *vip, const struct service *service,
				      struct flow *made)
{
	struct creation creation = {
		.key = packet->key,
		.port_state = port_seed(&packet->key),
		.flow.last_seen = bpf_jiffies64(),
		.flow.backend = service_choose(service, &packet->key),
		.midstream = is_midstream(packet),
	};
	struct flow *flow = &creation.flow;
	const struct backend *backend = bpf_map_lookup_elem(&backends, &flow->backend);

	if (!backend || !backend->addr || !backend->port)
		return creation.midstream ? DROP_NO_FLOW : DROP_NO_BACKEND;
	flow->saddr = source_address(ctx, packet, service, backend);
	flow->flags = local_flags(backend);
	flow->daddr = backend->addr;
	flow->dport = backend->port;
	flow->service = service->id;
	if (!flow->saddr)
		return DROP_NO_SOURCE;
	if (creation.midstream && !is_shared(backend, flow->saddr))
		return DROP_NO_FLOW;
	creation_set_ports(&creation, vip, backend->node_addr);
	flow->csum_addr = csum_normal(csum_delta32(packet->key.saddr, flow->saddr) +
				      csum_delta32(packet->key.daddr, flow->daddr));

	for (__u32 round = 0; round < (creation.midstream ? 1 : PORT_TRIES); round++) {
		enum reservation reservation = try_port(&creation, round);

		if (reservation == RESERVED)
			return publish(ctx, packet, &creation, made);
		if (reservation == RESTORED)
			return COUNTER_IN;
		if (reservation == FULL)
			return DROP_FLOWS_FULL;
	}
	return creation.midstream ? DROP_NO_FLOW : DROP_NO_PORT;
}

#endif /* WEIR_LIB_CREATE_H */
