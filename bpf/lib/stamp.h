/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* How copies of entries of flows (lib/cache.h) learn that they are void: each key
 * shares a stamp with others, and whoever changes what flows has for it, changes that.
 */
#ifndef WEIR_LIB_STAMP_H
#define WEIR_LIB_STAMP_H

#include "lib/maps.h"

/* Lines of one CPU less one, all ones. 0: there is no cache. Set by the loader. */
volatile const __u32 cache_mask;

static __always_inline __u32 cache_hash(const struct flow_key *key)
{
	const dword_t *words = (const dword_t *)key;

	return (words[0] ^ words[1] * 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9 >> 32;
}

static __always_inline struct stamp *cache_stamp(__u32 hash)
{
	__u32 index = hash >> 20 & (MAX_STAMPS - 1);

	return bpf_map_lookup_elem(&stamps, &index);
}

/* What was read before stays before what is read after, on arm64 too. */
static __always_inline void read_barrier(void)
{
	__u64 word = 0;

	__sync_lock_test_and_set(&word, 1);
	asm volatile("" ::"r"(&word) : "memory");
}

/* What flows has for key is not, or no longer, what it was. Comes after the change. */
static __always_inline void cache_invalidate(const struct flow_key *key)
{
	struct stamp *stamp = cache_stamp(cache_hash(key));
	__u32 before;

	if (!cache_mask || !stamp)
		return;
	before = __sync_fetch_and_add(&stamp->changes, 1);
	asm volatile("" : "+r"(before)); /* so that it is a barrier on arm64 */
}

/* The stamp that a line must have, with the epoch and the generation of next hops, neither
 * of which comes to 65536 more while a line lives. Taken before flows is asked.
 */
static __always_inline __u64 cache_version(__u32 hash)
{
	const struct stamp *stamp = cache_stamp(hash);
	__u32 zero = 0;
	const struct epoch *now = bpf_map_lookup_elem(&epoch, &zero);
	const struct config *routes = bpf_map_lookup_elem(&config, &zero);
	__u32 all;

	if (!stamp || !now || !routes)
		return 0;
	all = now->number + (*(const volatile __u32 *)&routes->nexthop_generation << 16);
	return (__u64)all << 32 | *(const volatile __u32 *)&stamp->changes;
}

#endif /* WEIR_LIB_STAMP_H */
