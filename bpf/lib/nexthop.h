/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Where packets leave. The FIB is asked when a flow has no next hop of the
 * present generation; flows that leave the same way share a slot for the answer.
 */
#ifndef WEIR_LIB_NEXTHOP_H
#define WEIR_LIB_NEXTHOP_H

#include "lib/flow.h"

#ifndef AF_INET
#define AF_INET 2
#endif

#define NEXTHOP_PROBES 8

_Static_assert((MAX_NEXTHOPS & (MAX_NEXTHOPS - 1)) == 0, "slots are found by masking");
_Static_assert(MAX_NEXTHOPS <= 1 << 16, "an index is the lower half of a flow's word");

/* A FIB's answer. Without a neighbour hop lacks NEXTHOP_VALID. */
struct route {
	struct nexthop hop;
	__be32 gateway;
};

/* What a flow keeps of the FIB's answer, in one word: the index of its slot in the lower
 * half, 0 for none, and above it 16 bits of the generation in which the FIB was asked for
 * this flow. The slot's own generation tells of other flows that leave by it, whose routes
 * may stand while this one's has moved. A flow that was silent for 65536 generations, or
 * a multiple, is the only one that takes an old answer for a new one.
 */
static __always_inline __u32 nexthop_word(__u32 index, __u32 generation)
{
	return index ? generation << 16 | index : 0;
}

/* The next hop that a flow's word names. NULL: there is none of the present generation. */
static __always_inline const struct nexthop *nexthop_at(__u32 word)
{
	__u32 zero = 0, index = word & (MAX_NEXTHOPS - 1);
	const struct config *now = bpf_map_lookup_elem(&config, &zero);
	const struct nexthop *hop = bpf_map_lookup_elem(&nexthops, &index);

	if (!now || !hop || !(hop->flags & NEXTHOP_VALID))
		return NULL;
	if (hop->generation != now->nexthop_generation || (__u16)hop->generation != word >> 16)
		return NULL;
	return hop;
}

/* All that tells next hops apart but the source MAC, which follows the device.
 * For one device this is a bijection; over all, 64 bits of hash. Never 0.
 */
static __always_inline __u64 nexthop_claim(const struct nexthop *hop)
{
	__u64 low = *(const word_t *)hop->dmac;
	__u64 high = *(const __u16 *)(hop->dmac + 4);
	__u64 mac = low | high << 32 | (__u64)hop->mtu << 48;

	mac = (mac ^ (__u64)hop->ifindex * 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9;
	return (mac ^ mac >> 31) ?: 1;
}

/* Fills a slot that is claimed for hop. CPUs that do it at once write the same;
 * the generation comes last, so a reader sees a complete new slot or an old one.
 */
static __always_inline void nexthop_publish(struct nexthop *slot, const struct nexthop *hop)
{
	slot->ifindex = hop->ifindex;
	slot->mtu = hop->mtu;
	__builtin_memcpy(slot->dmac, hop->dmac, sizeof(slot->dmac));
	__builtin_memcpy(slot->smac, hop->smac, sizeof(slot->smac));
	slot->flags = hop->flags;
	__sync_lock_test_and_set(&slot->generation, hop->generation);
}

/* The word that names the slot for hop, 0 if all that it may have are taken: then its
 * flows ask the FIB for each packet. Slots are never given up, so an index in a flow
 * always means the same next hop.
 */
static __always_inline __u32 nexthop_store(const struct nexthop *hop)
{
	__u64 claim = nexthop_claim(hop);

	for (int i = 0; i < NEXTHOP_PROBES; i++) {
		__u32 index = (claim + i) & (MAX_NEXTHOPS - 1);
		struct nexthop *slot = bpf_map_lookup_elem(&nexthops, &index);
		__u64 owner;

		if (!index || !slot)
			continue;
		owner = __sync_val_compare_and_swap(&slot->claim, 0, claim);
		if (owner && owner != claim)
			continue;
		nexthop_publish(slot, hop);
		return nexthop_word(index, hop->generation);
	}
	return 0;
}

static __always_inline enum counter nexthop_refusal(long result)
{
	switch (result) {
	case BPF_FIB_LKUP_RET_BLACKHOLE:
		return DROP_BLACKHOLE;
	case BPF_FIB_LKUP_RET_UNREACHABLE:
		return DROP_UNREACHABLE;
	case BPF_FIB_LKUP_RET_PROHIBIT:
		return DROP_PROHIBITED;
	case BPF_FIB_LKUP_RET_FWD_DISABLED:
		return DROP_FWD_DISABLED;
	case BPF_FIB_LKUP_RET_UNSUPP_LWT:
		return DROP_ROUTE_ENCAP;
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		return DROP_MTU_EXCEEDED;
	}
	return DROP_NO_ROUTE;
}

/* Bytes of the longest IP packet that leaves: a GSO packet is cut first. */
static __always_inline __u32 nexthop_length(ctx_t *ctx, const struct packet *packet)
{
	__u32 segment = ctx_gso_size(ctx);

	return segment ? packet->headers + segment : packet->length;
}

/* Asks the FIB and stores the answer with the flow; without a neighbour there is none
 * to store. COUNTER_FORWARDED: route is set; anything else is why the packet must be
 * dropped. With DROP_MTU_EXCEEDED route has the MTU.
 */
static __noinline enum counter nexthop_resolve(ctx_t *ctx, const struct packet *packet,
					       struct flow *flow, struct route *route)
{
	struct bpf_fib_lookup fib = {
		.family = AF_INET,
		.l4_protocol = packet->key.proto,
		.sport = flow->sport,
		.dport = flow->dport,
		.tot_len = nexthop_length(ctx, packet),
		.ifindex = ctx_ifindex(ctx),
		.tos = packet->tos,
		.ipv4_src = flow->saddr,
		.ipv4_dst = flow->daddr,
	};
	__u32 zero = 0;
	const struct config *now = bpf_map_lookup_elem(&config, &zero);
	const struct device *device;
	struct nexthop *hop = &route->hop;
	long result;

	if (!now)
		return DROP_INTERNAL;
	/* Read before the FIB: a change in between makes the answer stale at once. */
	hop->generation = now->nexthop_generation;
	result = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	hop->mtu = fib.mtu_result;
	if (result != BPF_FIB_LKUP_RET_SUCCESS)
		flow->nexthop = 0; /* what it was would be new again 65536 generations on */
	if (result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH)
		return nexthop_refusal(result);
	hop->ifindex = fib.ifindex;
	route->gateway = fib.ipv4_dst;
	if (result == BPF_FIB_LKUP_RET_NO_NEIGH) {
		hop->mtu = 0xffff; /* not told, but the packet is within it */
		return COUNTER_FORWARDED;
	}
	hop->flags = NEXTHOP_VALID;
	__builtin_memcpy(hop->dmac, fib.dmac, sizeof(hop->dmac));
	__builtin_memcpy(hop->smac, fib.smac, sizeof(hop->smac));
	device = bpf_map_lookup_elem(&devices, &hop->ifindex);
	if (device && device->flags & DEVICE_XDP_TX)
		hop->flags |= NEXTHOP_XDP;
	if (device && device->flags & DEVICE_REDIRECT)
		hop->flags |= NEXTHOP_REDIRECT;
	flow->nexthop = nexthop_store(hop);
	return COUNTER_FORWARDED;
}

#endif /* WEIR_LIB_NEXTHOP_H */
