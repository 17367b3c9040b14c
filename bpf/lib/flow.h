/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Flow entries: the two of a connection, their life and who may replace them. */
#ifndef WEIR_LIB_FLOW_H
#define WEIR_LIB_FLOW_H

#include "lib/parse.h"
#include "lib/stamp.h"

/* Errors of map helpers are kept in an int: before Linux 6.4 the helpers return one,
 * and the upper half of a long would be 0.
 */
#define EEXIST 17

/* Key of the other direction: what answers to a rewritten packet look like. */
static __always_inline void flow_pair_key(const struct flow *flow, __u8 proto, struct flow_key *key)
{
	*key = (struct flow_key){
		.saddr = flow->daddr,
		.daddr = flow->saddr,
		.sport = flow->dport,
		.dport = flow->sport,
		.proto = proto,
	};
}

/* Whether flow, found under key, is what answers to pair look like: that pair
 * and flow are the two directions of one connection.
 */
static __always_inline bool flow_is_pair_of(const struct flow_key *key, const struct flow *pair)
{
	return pair->daddr == key->saddr && pair->saddr == key->daddr &&
	       pair->dport == key->sport && pair->sport == key->dport;
}

static __always_inline const struct rewrite *flow_rewrite(const struct flow *flow)
{
	return (const struct rewrite *)flow;
}

/* Flags of the other direction's fresh entry. */
static __always_inline __u8 flow_turn_flags(__u8 flags)
{
	__u8 turned = ~flags & FLOW_REPLY;

	if (flags & FLOW_UP)
		turned |= FLOW_PAIR_UP;
	if (flags & FLOW_PAIR_UP)
		turned |= FLOW_UP;
	return turned;
}

/* The entry for the other direction, made of this one alone. */
static __always_inline void flow_reverse(const struct flow_key *key, const struct flow *flow,
					 struct flow *reverse)
{
	*reverse = (struct flow){
		.saddr = key->daddr,
		.daddr = key->saddr,
		.sport = key->dport,
		.dport = key->sport,
		.csum_addr = ~flow->csum_addr,
		.csum_port = ~flow->csum_port,
		.backend = flow->backend,
		.state = flow->state,
		.flags = flow_turn_flags(flow->flags),
		.service = flow->service,
		.last_seen = flow->last_seen,
	};
}

/* Accounts a packet. Bytes are those of Ethernet header and IP packet, without
 * padding and FCS. Both directions have entries of their own, so two CPUs rarely
 * write one; if they do, a count may be lost and nothing else.
 */
static __always_inline void flow_touch(struct flow *flow, __u32 length)
{
	flow->packets += 1;
	flow->bytes += ETH_HLEN + length;
	flow->last_seen = bpf_jiffies64();
}

/* service, state and flags are one word for compare and swap. */
static __always_inline __u32 *flow_word(struct flow *flow)
{
	return (__u32 *)(void *)&flow->service;
}

#define FLOW_WORD_FLAGS(flags) ((__u32)(flags) << 24)

/* Sets flags of an entry. Nothing that the CPU does after it comes before it, nor
 * the other way round: only an atomic whose result is used has that on arm64.
 */
static __always_inline void flow_mark(struct flow *flow, __u8 flags)
{
	__u32 before = __sync_fetch_and_or(flow_word(flow), FLOW_WORD_FLAGS(flags));

	asm volatile("" : "+r"(before));
}

/* Wins the right to replace or delete an entry: true on one CPU only, and then
 * for as long as the entry exists. The entry must still be in the state in which
 * the caller judged it: its memory may be another entry's by now, a fresh one of
 * the same key even. An entry of another key in the same state can be hit
 * instead; the worst of that is one closed flow that cannot be taken over until
 * it is swept.
 */
static __always_inline bool flow_claim(struct flow *flow, __u8 state)
{
	__u32 *word = flow_word(flow);
	__u32 old = *(volatile __u32 *)word;

	if (old & FLOW_WORD_FLAGS(FLOW_TAKEN) || (__u8)(old >> 16) != state)
		return false;
	return __sync_val_compare_and_swap(word, old, old | FLOW_WORD_FLAGS(FLOW_TAKEN)) == old;
}

/* Whether both are entries of one connection's reply direction. */
static __always_inline bool flow_is_same(const struct flow *one, const struct flow *other)
{
	return one->daddr == other->daddr && one->saddr == other->saddr &&
	       one->dport == other->dport && one->sport == other->sport;
}

/* Deletes an entry, and with it the copies that CPUs have. */
static __always_inline void flow_delete(void *map, const struct flow_key *key)
{
	bpf_map_delete_elem(map, key);
	cache_invalidate(key);
}

/* Deletes the reply entry at key from map if it still answers to pair. */
static __always_inline void flow_retire_reply(void *map, const struct flow_key *key,
					      const struct flow_key *client)
{
	struct flow *reply = bpf_map_lookup_elem(map, key);

	if (reply && flow_is_pair_of(client, reply) && flow_claim(reply, reply->state))
		flow_delete(map, key);
}

/* Marks the pair of flow in map. */
static __always_inline void flow_close_pair(void *map, const struct flow_key *key,
					    const struct flow *flow)
{
	struct flow_key pair_key;
	struct flow *pair;

	flow_pair_key(flow, key->proto, &pair_key);
	pair = bpf_map_lookup_elem(map, &pair_key);
	if (pair && flow_is_pair_of(key, pair))
		pair->state = FLOW_CLOSING;
}

/* A direction has closed; when both have, the connection is over. The last
 * acknowledgements still pass: the entries stay until they are swept or replaced.
 * Where both close at once on two CPUs, each marks its own before it looks at the
 * other's, so that one of them at least sees both.
 */
static __always_inline void flow_fin(void *map, const struct flow_key *key, struct flow *flow)
{
	struct flow_key pair_key;
	struct flow *pair;

	flow_mark(flow, FLOW_SEEN_FIN);
	flow_pair_key(flow, key->proto, &pair_key);
	pair = bpf_map_lookup_elem(map, &pair_key);
	if (!pair || !(pair->flags & FLOW_SEEN_FIN) || !flow_is_pair_of(key, pair))
		return;
	pair->state = FLOW_CLOSING;
	flow->state = FLOW_CLOSING;
}

/* Notes what a packet says of its connection in both entries. */
static __always_inline void flow_signal(void *map, const struct flow_key *key, struct flow *flow,
					__u8 signals)
{
	if (signals & SIGNAL_RESET) {
		flow->state = FLOW_CLOSING;
		flow_close_pair(map, key, flow);
	} else if (signals & SIGNAL_FIN) {
		flow_fin(map, key, flow);
	}
}

#endif /* WEIR_LIB_FLOW_H */
