/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The context of the TC ingress program, by the names that lib/xdp.h has too. */
#ifndef WEIR_LIB_TC_H
#define WEIR_LIB_TC_H

#include <linux/if_packet.h>

#include "lib/skb.h"

#define HOOK HOOK_TC

/* Packets of this hook come from outside. */
static __always_inline bool ctx_starts_here(void)
{
	return false;
}

/* Frames that are not this device's own to route: of a VLAN, whose tag the
 * device took out of the frame, or to another station.
 */
static __always_inline bool ctx_is_foreign(const ctx_t *ctx)
{
	return ctx->vlan_present || ctx->pkt_type != PACKET_HOST;
}

static __always_inline int ctx_send_back(ctx_t *ctx)
{
	ctx->tc_index |= TC_INDEX_SENT;
	return bpf_redirect(ctx->ifindex, 0);
}

static __always_inline int ctx_send(ctx_t *ctx, const struct nexthop *hop, __be32 gateway)
{
	return skb_send(ctx, hop, gateway);
}

/* Up this node's stack, which does not know that the packet was another. */
static __always_inline int ctx_deliver(ctx_t *ctx, const struct flow *flow)
{
	return CTX_PASS;
}

#endif /* WEIR_LIB_TC_H */
