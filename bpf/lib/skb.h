/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the contexts of both TC programs share, by the names that lib/xdp.h has
 * too. Include lib/tc.h (ingress) or lib/egress.h instead.
 */
#ifndef WEIR_LIB_SKB_H
#define WEIR_LIB_SKB_H

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include "lib/counters.h"
#include "lib/csum.h"

/* A macro, no typedef: the verifier finds the context of a global function by name. */
#define ctx_t struct __sk_buff

/* Programs of others come after ours and decide as if it was not there. */
#define CTX_PASS TC_ACT_UNSPEC
#define CTX_DROP TC_ACT_SHOT

#define AF_INET 2

static __always_inline void *ctx_data(const ctx_t *ctx)
{
	return (void *)(long)ctx->data;
}

static __always_inline void *ctx_data_end(const ctx_t *ctx)
{
	return (void *)(long)ctx->data_end;
}

/* Length of the whole frame, of all segments of a GSO packet, in bytes. */
static __always_inline __u64 ctx_length(ctx_t *ctx, __u64 enough)
{
	return ctx->len;
}

static __always_inline __u32 ctx_ifindex(const ctx_t *ctx)
{
	return ctx->ifindex;
}

/* Copy bytes out of and into the frame, wherever they lie. 0: done. */
static __always_inline long ctx_load(ctx_t *ctx, __u32 offset, void *to, __u32 length)
{
	return bpf_skb_load_bytes(ctx, offset, to, length);
}

static __always_inline long ctx_store(ctx_t *ctx, __u32 offset, const void *from, __u32 length)
{
	return bpf_skb_store_bytes(ctx, offset, from, length, 0);
}

/* Makes the first length bytes, or all if they are fewer, linear. Pointers into
 * the packet must be loaded again after it.
 */
static __always_inline void ctx_pull(ctx_t *ctx, __u32 length)
{
	__u32 linear = ctx->data_end - ctx->data;

	if (linear < length && linear < ctx->len)
		bpf_skb_pull_data(ctx, length < ctx->len ? length : ctx->len);
}

/* More bytes than lie before a checksum that the device is still to finish. */
#define SKB_DISCARD 80

/* Makes room for a frame of length bytes in place of the packet; what it holds is
 * garbage, and pointers into the packet are void. No GSO is left of the packet, nor a
 * checksum that the device would finish somewhere in the new frame: the kernel
 * forgets it when what lies before it is pulled off. False: it is as it was.
 */
static __always_inline bool ctx_replace(ctx_t *ctx, __u32 length)
{
	return !bpf_skb_change_tail(ctx, length + SKB_DISCARD, 0) &&
	       !bpf_skb_adjust_room(ctx, -SKB_DISCARD, BPF_ADJ_ROOM_MAC, 0);
}

/* What counts for a packet that could not be answered here: nobody else will. */
static __always_inline enum counter ctx_unanswered(enum counter reason)
{
	return reason;
}

static __always_inline bool ctx_is_to_other_station(const ctx_t *ctx)
{
	return false; /* the kernel sorts them out before TC */
}

static __always_inline bool ctx_is_misdelivered(const ctx_t *ctx, const struct nexthop *hop)
{
	return false;
}

static __always_inline __u32 ctx_gso_size(const ctx_t *ctx)
{
	return ctx->gso_size;
}

/* A sender on this machine leaves the CRC 0 for the device to fill in, and the
 * device then takes what it finds into the sum. A real CRC is 0 once in 2^32.
 */
static __always_inline bool ctx_crc_is_pending(__le32 crc)
{
	return !crc;
}

/* Applies a flow's deltas to the checksum of TCP or UDP. The sum may be partial
 * (of the pseudo-header alone, the device adds the rest): only the helper knows,
 * and it needs addresses and ports apart. Pointers into the packet are void after
 * it. A UDP sum of 0 stays 0.
 */
static __always_inline void ctx_fix_sum(ctx_t *ctx, __u16 *sum, __u32 offset, __u16 csum_addr,
					__u16 csum_port, bool udp)
{
	__u64 flags = udp ? BPF_F_MARK_MANGLED_0 : 0;

	if (csum_addr)
		bpf_l4_csum_replace(ctx, offset, 0, csum_addr, flags | BPF_F_PSEUDO_HDR);
	if (csum_port)
		bpf_l4_csum_replace(ctx, offset, 0, csum_port, flags);
}

static __always_inline bool ctx_may_send(const struct nexthop *hop)
{
	return true;
}

static __always_inline bool ctx_may_send_back(const ctx_t *ctx)
{
	return true;
}

static __always_inline bool ctx_may_deliver(void)
{
	return true;
}

/* A bit of tc_index on what a program of ours has sent: it goes through the egress
 * hook of the device it leaves by, which has nothing to do for it. The field goes
 * with the packet, no qdisc of today reads it, and Cilium uses low bits of it.
 */
#define TC_INDEX_SENT (1 << 15)

/* Hands a packet to a device. Without a neighbour the kernel resolves one, and
 * queues the packet meanwhile.
 */
static __always_inline int skb_send(ctx_t *ctx, const struct nexthop *hop, __be32 gateway)
{
	struct bpf_redir_neigh via = {
		.nh_family = AF_INET,
		.ipv4_nh = gateway,
	};

	ctx->tc_index |= TC_INDEX_SENT;
	if (hop->flags & NEXTHOP_VALID)
		return bpf_redirect(hop->ifindex, 0);
	return bpf_redirect_neigh(hop->ifindex, &via, sizeof(via), 0);
}

#endif /* WEIR_LIB_SKB_H */
