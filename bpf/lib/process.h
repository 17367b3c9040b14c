/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The way of a packet through the program. An established connection's packet
 * takes process, its copy or one lookup, forward; everything else goes through unusual.
 */
#ifndef WEIR_LIB_PROCESS_H
#define WEIR_LIB_PROCESS_H

#include "lib/addresses.h"
#include "lib/cache.h"
#include "lib/create.h"
#include "lib/halfopen.h"
#include "lib/icmp_error.h"
#include "lib/icmp_translate.h"
#include "lib/limit.h"

/* Counts what becomes of a packet that is not sent. */
static __always_inline int finish(enum counter verdict)
{
	count(HOOK, verdict);
	return verdict == COUNTER_PASSED ? CTX_PASS : CTX_DROP;
}

/* Rewrites a packet of flow and leaves it to the kernel (is_delivered). */
static __noinline int deliver(ctx_t *ctx, const struct packet *packet, struct flow *flow)
{
	if (!ctx_may_deliver())
		return finish(COUNTER_PASSED);
	if (unlikely(packet->signals & SIGNAL_ADDRESSES) && !hide_addresses(ctx, packet))
		return finish(DROP_MALFORMED);
	if (!rewrite(ctx, packet, flow_rewrite(flow), NULL))
		return finish(DROP_INTERNAL);
	flow_touch(flow, packet->length);
	count(HOOK, COUNTER_FORWARDED);
	return ctx_deliver(ctx, flow);
}

/* finish for a packet whose sender is told why, if limits let it. mtu is that of
 * the next hop which the packet is too long for. Pointers into the packet are void.
 */
static __noinline int refuse(ctx_t *ctx, const struct packet *packet, enum counter reason,
			     __u16 mtu)
{
	if (!answer_is_due(ctx, packet, reason))
		return finish(reason);
	if (!ctx_may_send_back(ctx))
		return finish(COUNTER_PASSED);
	/* Never too often, as in Linux: a transfer that is not told hangs. */
	if (reason != DROP_MTU_EXCEEDED && !limit_allows(packet->key.saddr))
		return finish(reason);
	if (!answer(ctx, packet, reason, mtu))
		return finish(ctx_unanswered(reason));
	count(HOOK, reason);
	count(HOOK, COUNTER_ANSWERED);
	return ctx_send_back(ctx);
}

/* Rewrites a packet of flow and sends it. XDP leaves packets to TC, untouched,
 * that it must not transmit itself.
 */
static __noinline int forward(ctx_t *ctx, const struct packet *packet, struct flow *flow)
{
	const struct nexthop *hop;
	struct route route = {};

	if (unlikely(is_delivered(packet, flow)))
		return deliver(ctx, packet, flow);
	hop = nexthop_at(flow->nexthop);
	if (unlikely(ctx_is_misdelivered(ctx, hop)))
		return finish(COUNTER_PASSED);
	if (!ctx_starts_here() && packet->ttl <= 1)
		return refuse(ctx, packet, DROP_TTL_EXCEEDED, 0);
	if (!hop) {
		enum counter verdict = nexthop_resolve(ctx, packet, flow, &route);

		if (verdict != COUNTER_FORWARDED)
			return refuse(ctx, packet, verdict, route.hop.mtu);
		hop = &route.hop;
	}
	if (!ctx_may_send(hop))
		return finish(COUNTER_PASSED);
	if (packet->length > hop->mtu && nexthop_length(ctx, packet) > hop->mtu)
		return refuse(ctx, packet, DROP_MTU_EXCEEDED, hop->mtu);
	if (unlikely(packet->signals & SIGNAL_ADDRESSES) && !hide_addresses(ctx, packet))
		return finish(DROP_MALFORMED);
	if (!rewrite(ctx, packet, flow_rewrite(flow), hop))
		return finish(DROP_INTERNAL);
	flow_touch(flow, packet->length);
	count(HOOK, COUNTER_FORWARDED);
	return ctx_send(ctx, hop, route.gateway);
}

/* forward for what a copy is enough for. CACHE_MISS: the packet is as it was. */
#define CACHE_MISS -2

static __always_inline int forward_cached(ctx_t *ctx, const struct packet *packet,
					  struct cached *line)
{
	__u32 index = line->nexthop & (MAX_NEXTHOPS - 1);
	const struct nexthop *hop = bpf_map_lookup_elem(&nexthops, &index);

	if (!hop || packet->ttl <= 1)
		return CACHE_MISS;
	if (unlikely(ctx_is_misdelivered(ctx, hop) || !ctx_may_send(hop)))
		return finish(COUNTER_PASSED);
	if (packet->length > hop->mtu && nexthop_length(ctx, packet) > hop->mtu)
		return CACHE_MISS;
	if (!rewrite(ctx, packet, &line->rewrite, hop))
		return finish(DROP_INTERNAL);
	cache_touch(line, packet->length);
	count(HOOK, COUNTER_FORWARDED);
	return ctx_send(ctx, hop, 0);
}

/* Sends a packet of a flow that is half-open, by its copy. */
static __always_inline int forward_halfopen(ctx_t *ctx, const struct packet *packet,
					    struct flow *copy)
{
	int action = forward(ctx, packet, copy);

	halfopen_account(&packet->key, copy);
	return action;
}

/* A VIP is nobody's own address: what claims to come from one, and from outside, is
 * forged.
 */
static __always_inline bool is_spoofed(const struct packet *packet)
{
	if (ctx_starts_here())
		return false;
	return !is_unicast(packet->key.saddr) || vip_find(packet->key.saddr);
}

static __noinline int answer_echo(ctx_t *ctx, const struct packet *packet)
{
	if (!ctx_may_send_back(ctx))
		return finish(COUNTER_PASSED);
	if (!limit_allows(packet->key.saddr))
		return finish(DROP_LIMITED);
	if (!echo_turn(ctx, packet))
		return finish(DROP_INTERNAL);
	count(HOOK, COUNTER_FORWARDED);
	return ctx_send_back(ctx);
}

static __always_inline int deliver_error(ctx_t *ctx, const struct packet *packet,
					 const struct quote *quote, struct flow *flow)
{
	if (!ctx_may_deliver())
		return finish(COUNTER_PASSED);
	if (!translate(ctx, packet, quote, flow, NULL))
		return finish(DROP_INTERNAL);
	count(HOOK, COUNTER_FORWARDED);
	return ctx_deliver(ctx, flow);
}

/* Sends an ICMP error about a packet of flow's other direction along flow. None is
 * ever answered by another.
 */
static __noinline int forward_error(ctx_t *ctx, const struct packet *packet,
				    const struct quote *quote, struct flow *flow)
{
	const struct nexthop *hop;
	struct packet along = *packet;
	struct route route = {};

	if (is_delivered(packet, flow))
		return deliver_error(ctx, packet, quote, flow);
	along.key = quote->answers; /* the way is the flow's */
	if (!ctx_starts_here() && packet->ttl <= 1)
		return finish(DROP_TTL_EXCEEDED);
	hop = nexthop_at(flow->nexthop);
	if (!hop) {
		enum counter verdict = nexthop_resolve(ctx, &along, flow, &route);

		if (verdict != COUNTER_FORWARDED)
			return finish(verdict);
		hop = &route.hop;
	}
	if (!ctx_may_send(hop))
		return finish(COUNTER_PASSED);
	if (packet->length > hop->mtu)
		return finish(DROP_MTU_EXCEEDED);
	if (!translate(ctx, packet, quote, flow, hop))
		return finish(DROP_INTERNAL);
	count(HOOK, COUNTER_FORWARDED);
	return ctx_send(ctx, hop, route.gateway);
}

/* An ICMP error: of a flow, or about a packet that no flow here has sent. */
static __noinline int error(ctx_t *ctx, const struct packet *packet)
{
	struct quote quote = {};
	struct flow copy;
	struct flow *flow = quote_read(ctx, packet, &quote) ? quote_flow(&quote, &copy) : NULL;

	if (!flow && !vip_find(packet->key.daddr))
		return finish(COUNTER_PASSED);
	if (ctx_is_to_other_station(ctx))
		return finish(COUNTER_PASSED);
	if (is_spoofed(packet))
		return finish(DROP_SPOOFED);
	return flow ? forward_error(ctx, packet, &quote, flow) : finish(DROP_NO_FLOW);
}

/* What is no complete packet of a protocol that is balanced: dropped if it is of
 * a flow or to a VIP, else the kernel's.
 */
static __noinline int misfit(ctx_t *ctx, const struct packet *packet, enum shape shape)
{
	const struct flow_key *key = &packet->key;
	enum counter verdict = shape == SHAPE_FRAGMENT	 ? DROP_FRAGMENT
			       : shape == SHAPE_PROTOCOL ? DROP_PROTOCOL
							 : DROP_MALFORMED;

	if (shape == SHAPE_ERROR)
		return error(ctx, packet);
	if (bpf_map_lookup_elem(&flows, key) || bpf_map_lookup_elem(&flows_new, key))
		return finish(verdict);
	if (!vip_find(key->daddr) || ctx_is_to_other_station(ctx))
		return finish(COUNTER_PASSED);
	if (is_spoofed(packet))
		return finish(DROP_SPOOFED);
	if (shape == SHAPE_ECHO)
		return answer_echo(ctx, packet);
	return finish(verdict);
}

/* Whether a packet in the middle of a connection may make a flow: a client's to a service
 * all of whose nodes choose alike, and of no kind that opens or ends a connection. What
 * comes from a backend is an answer, whose flow is another node's.
 */
static __noinline bool picks_up(ctx_t *ctx, const struct packet *packet,
				const struct service *service)
{
	struct tcphdr tcp;

	if (service->algorithm != ALGORITHM_HASH || packet->signals & ~SIGNAL_FIN ||
	    is_backend(packet->key.saddr))
		return false;
	if (packet->key.proto != IPPROTO_TCP)
		return true;
	return !ctx_load(ctx, packet->l4, &tcp, sizeof(tcp)) && tcp.ack && !tcp.syn;
}

/* What becomes of a packet that is of no flow. COUNTER_FORWARDED and COUNTER_IN: it has
 * one now (create).
 */
static __always_inline enum counter admit(ctx_t *ctx, const struct packet *packet,
					  struct flow *made)
{
	const struct flow_key *key = &packet->key;
	const struct vip *vip = vip_find(key->daddr);
	const struct service *service;

	if (!vip || ctx_is_to_other_station(ctx))
		return COUNTER_PASSED;
	if (is_spoofed(packet))
		return DROP_SPOOFED;
	service = service_find(key->daddr, key->dport, key->proto);
	if (is_midstream(packet) && (!service || !picks_up(ctx, packet, service)))
		return DROP_NO_FLOW;
	if (!service && key->proto == IPPROTO_UDP && is_backend(key->saddr))
		return DROP_NO_FLOW; /* an answer, and the flow is another node's */
	if (!service)
		return DROP_NO_SERVICE;
	if (!ctx_starts_here() && packet->ttl <= 1)
		return DROP_TTL_EXCEEDED;
	if (!service_admits(service, key->saddr))
		return DROP_SOURCE_RANGE;
	return create(ctx, packet, vip, service, made);
}

/* A client opens a connection anew whose last one is over: forget that one, so
 * that a backend is chosen again. One CPU does it; others must wait.
 */
static __always_inline bool renew(const struct flow_key *key, struct flow *flow)
{
	struct flow_key pair_key;

	flow_pair_key(flow, key->proto, &pair_key);
	if (!flow_claim(flow, FLOW_CLOSING))
		return false;
	flow_retire_reply(&flows_new, &pair_key, key);
	bpf_map_delete_elem(&flows_new, key);
	flow_retire_reply(&flows, &pair_key, key);
	flow_delete(&flows, key);
	return true;
}

/* A packet that flows has nothing for. */
static __always_inline int unestablished(ctx_t *ctx, const struct packet *packet)
{
	const struct flow_key *key = &packet->key;
	enum counter verdict = DROP_CONTENDED;
	struct flow copy;
	struct flow *flow;

	switch (halfopen_find(packet, &copy, &verdict)) {
	case HALFOPEN_COPY:
		return forward_halfopen(ctx, packet, &copy);
	case HALFOPEN_DROP:
		return finish(verdict);
	case HALFOPEN_NONE:
		verdict = admit(ctx, packet, &copy);
		if (verdict == COUNTER_FORWARDED)
			return forward_halfopen(ctx, packet, &copy);
		if (verdict != COUNTER_IN)
			return refuse(ctx, packet, verdict, 0);
		break;
	case HALFOPEN_PROMOTED:
		break;
	}
	flow = bpf_map_lookup_elem(&flows, key);
	if (flow) {
		flow_signal(&flows, key, flow, packet->signals);
		return forward(ctx, packet, flow);
	}
	if (halfopen_read(key, &copy))
		return forward_halfopen(ctx, packet, &copy);
	return finish(DROP_CONTENDED); /* it is gone again already */
}

/* A packet with signals, or of no established flow. */
static __noinline int unusual(ctx_t *ctx, const struct packet *packet)
{
	const struct flow_key *key = &packet->key;
	struct flow *flow = packet->signals ? bpf_map_lookup_elem(&flows, key) : NULL;

	if (!flow)
		return unestablished(ctx, packet);
	cache_drop(key, flow);
	if (!(packet->signals & SIGNAL_FIRST) || flow->state != FLOW_CLOSING) {
		bool lives = flow->state != FLOW_CLOSING;

		flow_signal(&flows, key, flow, packet->signals);
		if (lives && flow->state == FLOW_CLOSING)
			halfopen_forget(key, flow);
		return forward(ctx, packet, flow);
	}
	if (!renew(key, flow))
		return finish(DROP_CONTENDED);
	return unestablished(ctx, packet);
}

/* Are there copies of flows at this hook? What leaves this node is mostly no flow's and
 * would look for one in vain.
 */
static __always_inline bool has_copies(void)
{
	return cache_mask && !ctx_starts_here();
}

/* Sends a packet that opens and closes nothing by this CPU's copy of its flow.
 * CACHE_MISS: ask flows. Inlined, because the call and its return cost 8 ns of 31 where
 * returns are guarded (spectre_v2, spec_rstack_overflow).
 */
static __always_inline int copied(ctx_t *ctx, const struct packet *packet)
{
	__u32 hash = cache_hash(&packet->key);
	struct cached *line;

	if (!has_copies())
		return CACHE_MISS;
	line = cache_find(&packet->key, hash, cache_version(hash));
	return likely(line) ? forward_cached(ctx, packet, line) : CACHE_MISS;
}

/* Sends such a packet by its flow, of which a copy is made. CACHE_MISS: it is of no
 * established flow. A function of its own for its stack, which the long way does not need.
 */
static __noinline int established(ctx_t *ctx, const struct packet *packet)
{
	const struct flow_key *key = &packet->key;
	__u64 version = 0;
	struct flow *flow;
	__u32 before;
	int action;

	if (has_copies()) {
		version = cache_version(cache_hash(key));
		read_barrier();
	}
	flow = bpf_map_lookup_elem(&flows, key);
	if (unlikely(!flow))
		return CACHE_MISS;
	before = flow->last_seen;
	action = forward(ctx, packet, flow);
	if (has_copies())
		cache_fill(key, flow, version, before);
	return action;
}

/* Whether no flow can be a packet's, and no service. A flow's packets go to a VIP or come
 * from a backend, and vips and backend_addrs have what flows name: two small tables that
 * stay near the CPU tell it of most packets of a node, in place of two that do not.
 */
static __always_inline bool is_strange(const struct flow_key *key)
{
	return !bpf_map_lookup_elem(&vips, &key->daddr) && !is_backend(key->saddr);
}

static __always_inline int process(ctx_t *ctx)
{
	struct packet packet = {};
	enum shape shape;

	count(HOOK, COUNTER_IN);
	shape = parse(ctx, &packet);
	if (shape == SHAPE_OTHER)
		return finish(COUNTER_PASSED);
	if (unlikely(shape != SHAPE_PACKET))
		return misfit(ctx, &packet, shape);
	if (likely(!packet.signals)) {
		int action = copied(ctx, &packet);

		if (likely(action != CACHE_MISS))
			return action;
		if (is_strange(&packet.key))
			return finish(COUNTER_PASSED);
		action = established(ctx, &packet);
		if (likely(action != CACHE_MISS))
			return action;
	}
	return unusual(ctx, &packet);
}

#endif /* WEIR_LIB_PROCESS_H */
