/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Flows with an end on this node: which direction goes up the stack, and whom the
 * backend sees, so that its answers pass a hook again.
 */
#ifndef WEIR_LIB_LOCAL_H
#define WEIR_LIB_LOCAL_H

#include "lib/nat.h"

/* Whether what this node sends to addr leaves by a device with the egress program.
 * Policy routing that goes by more than addresses is not seen.
 */
static __noinline bool answers_are_seen(ctx_t *ctx, __be32 backend, __be32 addr)
{
	struct bpf_fib_lookup fib = {
		.family = AF_INET,
		.ifindex = ctx_ifindex(ctx),
		.ipv4_src = backend,
		.ipv4_dst = addr,
	};
	const struct device *device;
	__u32 ifindex;
	long result = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);

	if (result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH)
		return false;
	ifindex = fib.ifindex;
	device = bpf_map_lookup_elem(&devices, &ifindex);
	return device && device->flags & DEVICE_EGRESS;
}

/* The source that the backend sees; 0: there is none. A backend on this node sees
 * the client, or else the VIP, whose route leads through the egress program. What
 * starts here is never sent out as the VIP: this node may not be the active one,
 * and must get the answer nonetheless.
 */
static __always_inline __be32 source_address(ctx_t *ctx, const struct packet *packet,
					     const struct service *service,
					     const struct backend *backend)
{
	const struct flow_key *key = &packet->key;

	if (backend->flags & BACKEND_LOCAL) {
		if (!ctx_starts_here() && answers_are_seen(ctx, backend->addr, key->saddr))
			return key->saddr;
		return key->daddr;
	}
	if (ctx_starts_here())
		return backend->node_addr;
	switch (service->mode) {
	case MODE_FULLNAT:
		return backend->flags & BACKEND_LB ? backend->node_addr : key->daddr;
	case MODE_ONEARM:
		return backend->node_addr;
	}
	return key->saddr;
}

/* Flags of a new flow's forward entry. */
static __always_inline __u8 local_flags(const struct backend *backend)
{
	__u8 flags = 0;

	if (backend->flags & BACKEND_LOCAL)
		flags |= FLOW_UP;
	if (ctx_starts_here())
		flags |= FLOW_PAIR_UP;
	return flags;
}

/* Whether the kernel takes a packet of flow where it goes, without a next hop of
 * ours: up the stack, or on to the destination that it has routed to already.
 */
static __always_inline bool is_delivered(const struct packet *packet, const struct flow *flow)
{
	if (flow->flags & FLOW_UP)
		return true;
	return ctx_starts_here() && flow->daddr == packet->key.daddr;
}

#endif /* WEIR_LIB_LOCAL_H */
