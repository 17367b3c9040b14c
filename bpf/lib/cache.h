/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A copy of established flows for each CPU, one cache line each, in front of flows:
 * a hit of the hash touches three lines on three pages (docs/adr/0011).
 *
 * A line is good for CACHE_TICKS after flows was asked for it, and no longer than its
 * stamp is: whoever removes an entry of flows, or gives its key to another connection,
 * changes the stamp that the key shares with others. It counts packets by itself and
 * settles them when it is filled anew, so flows lags behind by as much. No CPU writes
 * what is another's, and softirqs do not interrupt each other.
 */
#ifndef WEIR_LIB_CACHE_H
#define WEIR_LIB_CACHE_H

#include "lib/nexthop.h"

/* Between 0.25 s (HZ 1000) and 2.5 s (HZ 100). dataplane/flow knows the longest. */
#define CACHE_TICKS 250

/* A line that no packet went by for so long gives way to a flow that sends twice as often. */
#define CACHE_IDLE_TICKS (CACHE_TICKS / 8)

#define CACHE_WAYS 4

/* The line of hash on this CPU, by its way: they are neighbours. */
static __always_inline struct cached *cache_line(__u32 hash, __u32 way)
{
	__u32 index = bpf_get_smp_processor_id() * (cache_mask + 1) + ((hash & cache_mask) ^ way);

	return bpf_map_lookup_elem(&cache, &index);
}

static __always_inline bool cache_is_of(const struct cached *line, const struct flow_key *key)
{
	const dword_t *one = (const dword_t *)&line->key, *other = (const dword_t *)key;

	return one[0] == other[0] && one[1] == other[1];
}

static __always_inline bool cache_is_fresh(const struct cached *line)
{
	return (__u32)bpf_jiffies64() - line->filled <= CACHE_TICKS;
}

/* The line that key has. NULL: none. */
static __always_inline struct cached *cache_at(const struct flow_key *key, __u32 hash)
{
	for (__u32 way = 0; way < CACHE_WAYS; way++) {
		struct cached *line = cache_line(hash, way);

		if (line && cache_is_of(line, key))
			return line;
	}
	return NULL;
}

/* The line that a packet may go by. NULL: ask flows. */
static __always_inline struct cached *cache_find(const struct flow_key *key, __u32 hash,
						 __u64 version)
{
	struct cached *line = cache_at(key, hash);

	return line && line->version == version && cache_is_fresh(line) ? line : NULL;
}

static __always_inline void cache_touch(struct cached *line, __u32 length)
{
	line->packets += 1;
	line->bytes += ETH_HLEN + length;
	line->last_seen = bpf_jiffies64();
}

/* Hands what a line has counted over to its flow, if that is still the same. */
static __always_inline void cache_settle(struct cached *line, struct flow *flow)
{
	const dword_t *one = (const dword_t *)&line->rewrite, *other = (const dword_t *)flow;

	if (one[0] != other[0] || one[1] != other[1] || !line->packets)
		return;
	flow->packets += line->packets;
	flow->bytes += line->bytes;
	if ((__s32)(line->last_seen - flow->last_seen) > 0)
		flow->last_seen = line->last_seen;
	line->packets = 0;
	line->bytes = 0;
}

/* Takes a key's line away: its next packet asks flows. */
static __noinline int cache_drop(const struct flow_key *key, struct flow *flow)
{
	struct cached *line = cache_at(key, cache_hash(key));

	if (!line)
		return 0;
	cache_settle(line, flow);
	line->key.proto = 0; /* no packet has that */
	return 0;
}

/* A line for the flow of a key that has none, and of which the packet before this one
 * was seen at the tick before: one that is free or whose time is over; for a flow that
 * is busy, one that is not used; else, now and then, the one that was used least lately.
 * Where more flows are busy than there are lines most keep theirs, and a packet of the
 * others costs what it would without a cache.
 */
static __always_inline struct cached *cache_victim(__u32 hash, const struct flow *flow,
						   __u32 before)
{
	__u32 now = bpf_jiffies64(), idle = 0;
	struct cached *oldest = NULL;

	for (__u32 way = 0; way < CACHE_WAYS; way++) {
		struct cached *line = cache_line(hash, way);

		if (!line || !line->key.proto || !cache_is_fresh(line))
			return line;
		if (!oldest || now - line->last_seen > idle) {
			oldest = line;
			idle = now - line->last_seen;
		}
	}
	if (idle >= CACHE_IDLE_TICKS && now - before <= CACHE_IDLE_TICKS / 2)
		return oldest;
	return flow->packets & 15 ? NULL : oldest;
}

/* Where the line of a key that is filled anew goes: to the way that is looked at first, if
 * the line there is free, its time is over, or it counted less than half as much; that
 * takes its place. A packet waits for each line that is looked at before its own.
 */
static __always_inline struct cached *cache_advance(__u32 hash, struct cached *line)
{
	struct cached *first = cache_line(hash, 0);
	struct cached other;

	if (!first || first == line)
		return line;
	if (first->key.proto && cache_is_fresh(first) && line->packets / 2 <= first->packets)
		return line;
	other = *first;
	*first = *line;
	*line = other;
	return first;
}

/* Copies an entry of flows that a packet was just sent by; before is when the one before
 * it was seen. A connection that is over has no line any more.
 */
static __noinline int cache_fill(const struct flow_key *key, struct flow *flow, __u64 version,
				 __u32 before)
{
	__u32 hash = cache_hash(key), nexthop = *(volatile __u32 *)&flow->nexthop;
	struct cached *line;

	if (!nexthop_at(nexthop) || flow->flags & FLOW_UP)
		return 0;
	if (flow->state == FLOW_CLOSING)
		return cache_drop(key, flow);
	line = cache_at(key, hash);
	if (line) {
		line = cache_advance(hash, line);
		cache_settle(line, flow);
	} else {
		line = cache_victim(hash, flow, before);
		if (line && line->packets) {
			struct flow *old = bpf_map_lookup_elem(&flows, &line->key);

			if (old)
				cache_settle(line, old);
		}
	}
	if (!line)
		return 0;
	*line = (struct cached){
		.key = *key,
		.rewrite = *flow_rewrite(flow),
		.version = version,
		.filled = bpf_jiffies64(),
		.nexthop = nexthop,
		.last_seen = flow->last_seen,
	};
	return 0;
}

#endif /* WEIR_LIB_CACHE_H */
