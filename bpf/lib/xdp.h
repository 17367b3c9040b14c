/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The context of an XDP program, by the names that lib/tc.h has too: everything
 * else in lib compiles for both.
 */
#ifndef WEIR_LIB_XDP_H
#define WEIR_LIB_XDP_H

#include <linux/if_ether.h>

#include "lib/counters.h"
#include "lib/csum.h"

/* A macro, no typedef: the verifier finds the context of a global function by name. */
#define ctx_t struct xdp_md

#define HOOK	 HOOK_XDP
#define CTX_PASS XDP_PASS
#define CTX_DROP XDP_DROP

static __always_inline void *ctx_data(const ctx_t *ctx)
{
	return (void *)(long)ctx->data;
}

static __always_inline void *ctx_data_end(const ctx_t *ctx)
{
	return (void *)(long)ctx->data_end;
}

/* Length of the whole frame in bytes. Only the first buffer of a jumbo frame
 * lies between data and data_end; the helper (Linux 5.18) knows the others.
 */
static __always_inline __u64 ctx_length(ctx_t *ctx, __u64 enough)
{
	__u64 linear = ctx->data_end - ctx->data;

	return linear >= enough ? linear : bpf_xdp_get_buff_len(ctx);
}

static __always_inline __u32 ctx_ifindex(const ctx_t *ctx)
{
	return ctx->ingress_ifindex;
}

/* Copy bytes out of and into the frame, wherever they lie (Linux 5.18). 0: done. */
static __always_inline long ctx_load(ctx_t *ctx, __u32 offset, void *to, __u32 length)
{
	return bpf_xdp_load_bytes(ctx, offset, to, length);
}

static __always_inline long ctx_store(ctx_t *ctx, __u32 offset, void *from, __u32 length)
{
	return bpf_xdp_store_bytes(ctx, offset, from, length);
}

/* Makes room for a frame of length bytes in place of the packet; pointers into it
 * are void. False: it is as it was.
 */
static __always_inline bool ctx_replace(ctx_t *ctx, __u32 length)
{
	return !bpf_xdp_adjust_tail(ctx, (int)length - (int)bpf_xdp_get_buff_len(ctx));
}

/* What counts for a packet that could not be answered here. A driver may leave no
 * room for a longer frame, as veth does behind a sender's own buffer: TC has it.
 */
static __always_inline enum counter ctx_unanswered(enum counter reason)
{
	return COUNTER_PASSED;
}

/* Headers lie in the first buffer, or TC gets the packet. */
static __always_inline void ctx_pull(ctx_t *ctx, __u32 length)
{
}

/* Packets of this hook come from outside. */
static __always_inline bool ctx_starts_here(void)
{
	return false;
}

/* What goes up the stack is TC's to rewrite. */
static __always_inline bool ctx_may_deliver(void)
{
	return false;
}

/* Offloads and VLAN tags outside the frame are not known to XDP. */
static __always_inline bool ctx_is_foreign(const ctx_t *ctx)
{
	return false;
}

/* Payload of each segment of a GSO packet, 0 if it is none. */
static __always_inline __u32 ctx_gso_size(const ctx_t *ctx)
{
	return 0;
}

/* An SCTP CRC that the device is to fill in. XDP sees frames as on the wire. */
static __always_inline bool ctx_crc_is_pending(__le32 crc)
{
	return false;
}

static __always_inline bool is_same_station(const __u8 *one, const __u8 *other)
{
	const __u16 *a = (const __u16 *)one, *b = (const __u16 *)other;

	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2];
}

/* Frames to another station arrive where a bridge floods or the device is
 * promiscuous. They must not create flows.
 */
static __always_inline bool ctx_is_to_other_station(const ctx_t *ctx)
{
	static const __u8 unknown[6];
	__u32 ifindex = ctx_ifindex(ctx);
	const struct device *device = bpf_map_lookup_elem(&devices, &ifindex);
	const struct ethhdr *eth = ctx_data(ctx);

	if (!device || (void *)(eth + 1) > ctx_data_end(ctx))
		return false;
	return !is_same_station(device->mac, unknown) && !is_same_station(device->mac, eth->h_dest);
}

/* The same for a packet of a flow: the station it is to has the flow too, and sends
 * it. A packet that leaves by the device it came from has that device's address in
 * its next hop, which is needed anyway. Where it leaves by another one, asking for
 * the device would cost 10 ns of 40 for each packet, to spare duplicates to those who
 * bridge two networks and flood: it is asked with the FIB, once a generation.
 */
static __always_inline bool ctx_is_misdelivered(const ctx_t *ctx, const struct nexthop *hop)
{
	const struct ethhdr *eth = ctx_data(ctx);

	if (!hop)
		return ctx_is_to_other_station(ctx);
	if (hop->ifindex != ctx_ifindex(ctx) || (void *)(eth + 1) > ctx_data_end(ctx))
		return false;
	return !is_same_station(hop->smac, eth->h_dest);
}

/* Applies a flow's deltas to the checksum of TCP or UDP. A wrong sum stays wrong
 * by the same error; no checksum (0) stays none in UDP.
 */
static __always_inline void ctx_fix_sum(ctx_t *ctx, __u16 *sum, __u32 offset, __u16 csum_addr,
					__u16 csum_port, bool udp)
{
	__u16 fixed;

	if (udp && !*sum)
		return;
	fixed = csum_apply(*sum, (__u32)csum_addr + csum_port);
	*sum = udp && !fixed ? 0xffff : fixed;
}

static __always_inline bool ctx_may_send(const struct nexthop *hop)
{
	return hop->flags & NEXTHOP_XDP;
}

static __always_inline bool ctx_may_send_back(const ctx_t *ctx)
{
	__u32 ifindex = ctx_ifindex(ctx);
	const struct device *device = bpf_map_lookup_elem(&devices, &ifindex);

	return device && device->flags & DEVICE_XDP_TX;
}

static __always_inline int ctx_send_back(ctx_t *ctx)
{
	__u32 ifindex = ctx_ifindex(ctx);
	const struct device *device = bpf_map_lookup_elem(&devices, &ifindex);

	if (device && device->flags & DEVICE_REDIRECT)
		return bpf_redirect(ifindex, 0);
	return XDP_TX;
}

static __always_inline int ctx_deliver(ctx_t *ctx, const struct flow *flow)
{
	return XDP_PASS;
}

/* The gateway is for TC alone: without a neighbour XDP never sends. */
static __always_inline int ctx_send(ctx_t *ctx, const struct nexthop *hop, __be32 gateway)
{
	if (hop->ifindex == ctx_ifindex(ctx) && !(hop->flags & NEXTHOP_REDIRECT))
		return XDP_TX;
	return bpf_redirect(hop->ifindex, 0);
}

#endif /* WEIR_LIB_XDP_H */
