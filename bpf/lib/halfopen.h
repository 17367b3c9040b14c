/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Flows whose peer has not answered, and the step from there to flows. */
#ifndef WEIR_LIB_HALFOPEN_H
#define WEIR_LIB_HALFOPEN_H

#include "lib/flow.h"

/* Whether answers to the client's flow will be recognised: the reply entry is
 * there, or could be restored (the LRU may have evicted it). False: its tuple has
 * become another client's, so this entry is void.
 */
static __always_inline bool halfopen_confirm(const struct flow_key *key, const struct flow *flow)
{
	struct flow_key pair_key;
	struct flow reverse;
	const struct flow *pair;

	flow_pair_key(flow, key->proto, &pair_key);
	pair = bpf_map_lookup_elem(&flows, &pair_key);
	if (pair)
		return flow_is_pair_of(key, pair);
	flow_reverse(key, flow, &reverse);
	if (!bpf_map_update_elem(&flows_new, &pair_key, &reverse, BPF_NOEXIST))
		return true;
	pair = bpf_map_lookup_elem(&flows_new, &pair_key);
	return pair && flow_is_pair_of(key, pair);
}

/* Moves a connection to flows, reply first: whoever finds the client's entry
 * there can rely on the other. The entries in flows_new stay: a CPU that missed in
 * flows just before must still find them. NULL: see verdict.
 */
static __always_inline struct flow *halfopen_promote(const struct flow_key *key, struct flow *reply,
						     enum counter *verdict)
{
	struct flow established = *reply, forward;
	struct flow_key client;
	struct flow *halfopen, *present;
	int error, inserted;

	flow_pair_key(reply, key->proto, &client);
	halfopen = bpf_map_lookup_elem(&flows_new, &client);
	*verdict = DROP_NO_FLOW;
	if (halfopen && !flow_is_pair_of(key, halfopen))
		return NULL;
	established.state = FLOW_ESTABLISHED;
	flow_reverse(key, &established, &forward);
	if (halfopen) {
		forward.nexthop = halfopen->nexthop;
		forward.packets = halfopen->packets;
		forward.bytes = halfopen->bytes;
		forward.last_seen = halfopen->last_seen;
	}

	*verdict = DROP_FLOWS_FULL;
	inserted = bpf_map_update_elem(&flows, key, &established, BPF_NOEXIST);
	if (inserted && inserted != -EEXIST)
		return NULL;
	error = bpf_map_update_elem(&flows, &client, &forward, BPF_NOEXIST);
	if (error == -EEXIST) {
		present = bpf_map_lookup_elem(&flows, &client);
		if (present && !flow_is_pair_of(key, present))
			*verdict = DROP_NO_FLOW;
		else
			error = 0;
	}
	if (error) {
		if (!inserted)
			bpf_map_delete_elem(&flows, key);
		return NULL;
	}
	reply->state = FLOW_ESTABLISHED;
	if (halfopen)
		halfopen->state = FLOW_ESTABLISHED;
	*verdict = DROP_CONTENDED; /* if it is gone again already */
	return bpf_map_lookup_elem(&flows, key);
}

static __always_inline struct flow *halfopen_reply(const struct packet *packet, struct flow *reply,
						   enum counter *verdict)
{
	/* A refusal opens nothing, nor does what comes after it. */
	flow_signal(&flows_new, &packet->key, reply, packet->signals);
	if (reply->state == FLOW_CLOSING || reply->flags & FLOW_TAKEN)
		return reply;
	return halfopen_promote(&packet->key, reply, verdict);
}

/* The flow in flows_new that packet is of. NULL: none, and verdict is COUNTER_IN
 * or why the packet must be dropped.
 */
static __noinline struct flow *halfopen_find(const struct packet *packet, enum counter *verdict)
{
	const struct flow_key *key = &packet->key;
	struct flow *flow = bpf_map_lookup_elem(&flows_new, key);
	struct flow_key pair_key;

	if (!flow)
		return NULL;
	if (flow->flags & FLOW_REPLY)
		return halfopen_reply(packet, flow, verdict);
	if (packet->signals & SIGNAL_FIRST && flow->state == FLOW_CLOSING) {
		/* Refused before and tried again: a new decision. */
		if (!flow_claim(flow, FLOW_CLOSING)) {
			*verdict = DROP_CONTENDED;
			return NULL;
		}
		flow_pair_key(flow, key->proto, &pair_key);
		flow_retire_reply(&flows_new, &pair_key, key);
		bpf_map_delete_elem(&flows_new, key);
		return NULL;
	}
	if (!halfopen_confirm(key, flow)) {
		if (flow_claim(flow, flow->state))
			bpf_map_delete_elem(&flows_new, key);
		return NULL;
	}
	flow_signal(&flows_new, key, flow, packet->signals);
	return flow;
}

#endif /* WEIR_LIB_HALFOPEN_H */
