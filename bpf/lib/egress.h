/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The context of the TC egress program, by the names that lib/xdp.h has too. It
 * sees what this node's own stack sends or routes to a device: requests of the node
 * and its pods for a VIP, and answers of backends on it. What a program of ours has
 * sent passes by here too, and is left alone.
 */
#ifndef WEIR_LIB_EGRESS_H
#define WEIR_LIB_EGRESS_H

#include "lib/skb.h"

#define HOOK HOOK_EGRESS

/* The kernel has judged sources and lowered the TTL already. */
static __always_inline bool ctx_starts_here(void)
{
	return true;
}

static __always_inline bool ctx_is_foreign(const ctx_t *ctx)
{
	return ctx->vlan_present || ctx->tc_index & TC_INDEX_SENT;
}

/* Back into this node's stack, as if it had come in by this device. The source MAC
 * is the device's own, and so the one that the stack listens to.
 */
static __always_inline int egress_turn(ctx_t *ctx)
{
	struct ethhdr *eth = ctx_data(ctx);

	if ((void *)(eth + 1) > ctx_data_end(ctx))
		return CTX_DROP;
	__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	return bpf_redirect(ctx->ifindex, BPF_F_INGRESS);
}

/* The frame is turned: it goes to the device's own MAC. */
static __always_inline int ctx_send_back(ctx_t *ctx)
{
	return bpf_redirect(ctx->ifindex, BPF_F_INGRESS);
}

/* A packet that leaves by the device it is at goes on; no hook sees it again. */
static __always_inline int ctx_send(ctx_t *ctx, const struct nexthop *hop, __be32 gateway)
{
	if (hop->ifindex == ctx->ifindex && hop->flags & NEXTHOP_VALID)
		return CTX_PASS;
	return skb_send(ctx, hop, gateway);
}

/* What does not go up the stack goes where the kernel has routed it. */
static __always_inline int ctx_deliver(ctx_t *ctx, const struct flow *flow)
{
	return flow->flags & FLOW_UP ? egress_turn(ctx) : CTX_PASS;
}

#endif /* WEIR_LIB_EGRESS_H */
