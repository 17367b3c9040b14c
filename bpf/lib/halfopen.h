/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Flows whose client has not shown yet that it hears answers, and the step from
 * there to flows: TCP's acknowledgement of an answer; in SCTP the backend's COOKIE ACK, or
 * what else goes to nobody but the other end of an association. UDP has no such packet,
 * there the backend's answer must do (docs/adr/0008).
 *
 * Entries of an LRU map are reused at once, without waiting for whoever reads them.
 * So they are copied, and the copy is what packets are rewritten by.
 */
#ifndef WEIR_LIB_HALFOPEN_H
#define WEIR_LIB_HALFOPEN_H

#include "lib/flow.h"

/* What flows_new has for a packet. */
enum halfopen {
	HALFOPEN_NONE,
	HALFOPEN_COPY,	   /* a half-open flow: its copy is what counts */
	HALFOPEN_PROMOTED, /* it stands in flows now */
	HALFOPEN_DROP,
};

/* Copies the entry of flows_new at key. NULL: there is none, or it went away
 * meanwhile. An entry that still stands under key after it was copied stood there
 * all the time: for it to have left and come back, the map would have to give away
 * all its entries within two lookups. The entry itself is good for marks only, whose
 * worst is said where they are made.
 */
static __always_inline struct flow *halfopen_read(const struct flow_key *key, struct flow *copy)
{
	struct flow *entry = bpf_map_lookup_elem(&flows_new, key);

	if (!entry)
		return NULL;
	*copy = *entry;
	read_barrier();
	return bpf_map_lookup_elem(&flows_new, key) == entry ? entry : NULL;
}

/* Writes back what a packet has changed of the copy. A next hop that was looked up
 * after the entry was made is not kept: another connection that got the entry in this
 * instant would be sent there, while a count that is off harms nobody.
 */
static __always_inline void halfopen_account(const struct flow_key *key, const struct flow *copy)
{
	struct flow *entry = bpf_map_lookup_elem(&flows_new, key);

	if (!entry || !flow_is_same(entry, copy))
		return;
	entry->packets = copy->packets;
	entry->bytes = copy->bytes;
	entry->last_seen = copy->last_seen;
}

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
	/* An update that finds the entry there has evicted another one for nothing. */
	pair = bpf_map_lookup_elem(&flows_new, &pair_key);
	if (pair)
		return flow_is_pair_of(key, pair);
	flow_reverse(key, flow, &reverse);
	if (!bpf_map_update_elem(&flows_new, &pair_key, &reverse, BPF_NOEXIST))
		return true;
	pair = bpf_map_lookup_elem(&flows_new, &pair_key);
	return pair && flow_is_pair_of(key, pair);
}

/* Inserts an entry into flows. COUNTER_IN: it was there already. */
static __noinline enum counter establish(const struct flow_key *key, const struct flow *flow)
{
	const struct flow *present;
	int error = bpf_map_update_elem(&flows, key, flow, BPF_NOEXIST);

	if (!error)
		return COUNTER_FORWARDED;
	if (error != -EEXIST)
		return DROP_FLOWS_FULL;
	present = bpf_map_lookup_elem(&flows, key);
	return present && !flow_is_same(flow, present) ? DROP_NO_FLOW : COUNTER_IN;
}

/* Inserts both entries, reply first: whoever finds the client's entry there can
 * rely on the other.
 */
static __always_inline enum counter establish_both(const struct flow_key *reply_key,
						   const struct flow *reply,
						   const struct flow_key *client_key,
						   const struct flow *client)
{
	enum counter first = establish(reply_key, reply), second;

	if (first > COUNTER_FORWARDED)
		return first;
	second = establish(client_key, client);
	if (second > COUNTER_FORWARDED && first == COUNTER_FORWARDED)
		flow_delete(&flows, reply_key);
	return second;
}

/* Moves a connection to flows, by either of its entries: own is the copy of entry at
 * key. The entries in flows_new stay until the connection ends: a CPU that missed
 * in flows just before must still find them. If their memory is another connection's by now, that
 * one looks promoted and can lose its tuple before it is. COUNTER_FORWARDED, COUNTER_IN: done.
 */
static __always_inline enum counter halfopen_promote(const struct flow_key *key, struct flow *entry,
						     const struct flow *own)
{
	struct flow established = *own, reverse, pair;
	struct flow_key pair_key;
	struct flow *pair_entry;
	enum counter result;

	established.state = FLOW_ESTABLISHED;
	established.flags &= ~FLOW_ANSWERED;
	flow_reverse(key, &established, &reverse);
	flow_pair_key(own, key->proto, &pair_key);
	pair_entry = halfopen_read(&pair_key, &pair);
	if (pair_entry) {
		if (!flow_is_same(&pair, &reverse))
			return DROP_NO_FLOW;
		reverse.packets = pair.packets;
		reverse.bytes = pair.bytes;
		reverse.last_seen = pair.last_seen;
		reverse.nexthop = pair.nexthop;
		reverse.flags |= pair.flags & FLOW_SEEN_FIN;
	}
	if (own->flags & FLOW_REPLY)
		result = establish_both(key, &established, &pair_key, &reverse);
	else
		result = establish_both(&pair_key, &reverse, key, &established);
	if (result > COUNTER_FORWARDED)
		return result;
	entry->state = FLOW_ESTABLISHED;
	if (pair_entry)
		pair_entry->state = FLOW_ESTABLISHED;
	return result;
}

/* Deletes the entry at key if it is what is left of a promoted connection with pair_key. */
static __always_inline void halfopen_drop_rest(const struct flow_key *key,
					       const struct flow_key *pair_key)
{
	struct flow *rest = bpf_map_lookup_elem(&flows_new, key);

	if (rest && flow_is_pair_of(pair_key, rest) && flow_claim(rest, FLOW_ESTABLISHED))
		bpf_map_delete_elem(&flows_new, key);
}

/* Deletes what flows_new has still of a connection in flows that has just ended: now its
 * lines are near this CPU, and the elements are the next ones that the LRU gives away.
 * To leave it to the client's next SYN from the same port was a third of all that the
 * program took for a connection. Who missed in flows before the promotion has long been
 * here.
 */
static __noinline int halfopen_forget(const struct flow_key *key, const struct flow *flow)
{
	struct flow_key pair_key;

	flow_pair_key(flow, key->proto, &pair_key);
	halfopen_drop_rest(key, &pair_key);
	halfopen_drop_rest(&pair_key, key);
	return 0;
}

/* Notes with the client's entry that the backend has answered. If the LRU has
 * evicted that entry it is made again. False: the client has moved on, and this is
 * no flow's answer any more.
 */
static __always_inline bool halfopen_answered(const struct flow_key *key, const struct flow *reply)
{
	struct flow_key client;
	struct flow forward;
	struct flow *present;

	flow_pair_key(reply, key->proto, &client);
	present = bpf_map_lookup_elem(&flows_new, &client);
	if (present) {
		if (!flow_is_pair_of(key, present))
			return false;
		if (!(present->flags & FLOW_ANSWERED))
			flow_mark(present, FLOW_ANSWERED);
		return true;
	}
	present = bpf_map_lookup_elem(&flows, &client);
	if (present)
		return flow_is_pair_of(key, present);
	flow_reverse(key, reply, &forward);
	forward.flags |= FLOW_ANSWERED;
	forward.last_seen = bpf_jiffies64();
	/* Another CPU may do the same; where there is no room the backend repeats. */
	bpf_map_update_elem(&flows_new, &client, &forward, BPF_NOEXIST);
	return true;
}

/* Whether a backend's packet promotes a flow by itself. SYN-ACK does not, nor do INIT ACK
 * and ABORT: they go to who has said nothing yet that only the client can say.
 */
static __always_inline bool halfopen_is_accepted(const struct packet *packet)
{
	return packet->key.proto != IPPROTO_TCP && !packet->signals;
}

static __always_inline enum halfopen halfopen_reply(const struct packet *packet, struct flow *entry,
						    const struct flow *copy, enum counter *verdict)
{
	const struct flow_key *key = &packet->key;

	/* A refusal opens nothing, nor does what comes after it. */
	flow_signal(&flows_new, key, entry, packet->signals);
	if (packet->signals & SIGNAL_RESET || copy->state == FLOW_CLOSING ||
	    copy->flags & FLOW_TAKEN)
		return HALFOPEN_COPY;
	if (halfopen_is_accepted(packet) || copy->state == FLOW_ESTABLISHED) {
		*verdict = halfopen_promote(key, entry, copy);
		return *verdict > COUNTER_FORWARDED ? HALFOPEN_DROP : HALFOPEN_PROMOTED;
	}
	if (halfopen_answered(key, copy))
		return HALFOPEN_COPY;
	*verdict = DROP_NO_FLOW;
	return HALFOPEN_DROP;
}

/* Whether a client's packet shows that it got the answer, or the flow has been
 * promoted already. A host whose address was forged says nothing, or resets. What a
 * client says in SCTP only the backend can judge, by the cookie.
 */
static __always_inline bool halfopen_is_acknowledged(const struct packet *packet,
						     const struct flow *copy)
{
	if (packet->signals & (SIGNAL_FIRST | SIGNAL_RESET) || copy->flags & FLOW_TAKEN)
		return false;
	if (copy->state == FLOW_ESTABLISHED)
		return true;
	return packet->key.proto == IPPROTO_TCP && copy->state == FLOW_HALF_OPEN &&
	       copy->flags & FLOW_ANSWERED;
}

/* Whether a first packet that came again makes a new decision: the flow was refused, or
 * its backend has left the service and has not answered. What such a backend would be
 * asked again in vain, as the node behind it may drop what its last pod has left. What
 * has been promoted and is not in flows any more is a rest: its connection is over, and
 * another one has taken its tuple, maybe.
 */
static __always_inline bool halfopen_is_given_up(const struct flow_key *key,
						 const struct flow *copy)
{
	const struct backend *backend;

	if (copy->state == FLOW_ESTABLISHED)
		return !bpf_map_lookup_elem(&flows, key);
	if (copy->state != FLOW_HALF_OPEN || copy->flags & FLOW_ANSWERED)
		return copy->state == FLOW_CLOSING;
	backend = bpf_map_lookup_elem(&backends, &copy->backend);
	return backend && backend->flags & BACKEND_RETIRED;
}

static __always_inline enum halfopen halfopen_client(const struct packet *packet,
						     struct flow *entry, const struct flow *copy,
						     enum counter *verdict)
{
	const struct flow_key *key = &packet->key;
	struct flow_key pair_key;

	if (packet->signals & SIGNAL_FIRST && halfopen_is_given_up(key, copy)) {
		*verdict = DROP_CONTENDED;
		if (!flow_claim(entry, copy->state))
			return HALFOPEN_DROP;
		flow_pair_key(copy, key->proto, &pair_key);
		flow_retire_reply(&flows_new, &pair_key, key);
		bpf_map_delete_elem(&flows_new, key);
		return HALFOPEN_NONE;
	}
	if (!halfopen_confirm(key, copy)) {
		if (flow_claim(entry, copy->state))
			bpf_map_delete_elem(&flows_new, key);
		return HALFOPEN_NONE;
	}
	if (!halfopen_is_acknowledged(packet, copy)) {
		flow_signal(&flows_new, key, entry, packet->signals);
		return HALFOPEN_COPY;
	}
	*verdict = halfopen_promote(key, entry, copy);
	return *verdict > COUNTER_FORWARDED ? HALFOPEN_DROP : HALFOPEN_PROMOTED;
}

/* The flow in flows_new that packet is of. HALFOPEN_DROP: verdict says why. */
static __noinline enum halfopen halfopen_find(const struct packet *packet, struct flow *copy,
					      enum counter *verdict)
{
	struct flow *entry = halfopen_read(&packet->key, copy);

	if (!entry)
		return HALFOPEN_NONE;
	if (copy->flags & FLOW_REPLY)
		return halfopen_reply(packet, entry, copy, verdict);
	return halfopen_client(packet, entry, copy, verdict);
}

#endif /* WEIR_LIB_HALFOPEN_H */
