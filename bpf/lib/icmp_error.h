/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* ICMP errors of this node's own (RFC 792, RFC 1812 4.3). */
#ifndef WEIR_LIB_ICMP_ERROR_H
#define WEIR_LIB_ICMP_ERROR_H

#include "lib/answer.h"

#define ICMP_PORT_UNREACHABLE	  3
#define ICMP_FRAGMENTATION_NEEDED 4

/* What an error says, and who says it. */
struct complaint {
	__be32 from;
	__be16 mtu; /* RFC 1191 */
	__u8 type;
	__u8 code;
};

/* A router's errors come from its own address on the way that the packet came, so
 * that traceroute names the node; without one the destination says it. So it does
 * to this node itself, which takes nothing from outside that has its own address.
 */
static __always_inline __be32 own_address(ctx_t *ctx, const struct packet *packet)
{
	__u32 ifindex = ctx_ifindex(ctx);
	const struct device *device = bpf_map_lookup_elem(&devices, &ifindex);

	return device && device->addr && !ctx_starts_here() ? device->addr : packet->key.daddr;
}

/* Answers a packet, of whose payload parse has seen 8 bytes, by an ICMP error. */
static __noinline bool answer_error(ctx_t *ctx, const struct packet *packet,
				    const struct complaint *complaint)
{
	__u32 quoted = ((packet->l4 - ETH_HLEN) & 0x3c) + 8;
	struct answer answer = {};
	struct icmphdr *icmp = &answer.icmp.header;
	__u32 length = sizeof(*icmp) + quoted;

	if (ctx_load(ctx, ETH_HLEN, answer.icmp.quote, quoted) ||
	    !answer_address(ctx, packet, &answer, IPPROTO_ICMP, length))
		return false;
	answer.ip.saddr = complaint->from;
	answer.ip.tos = IP_TOS_CONTROL;
	icmp->type = complaint->type;
	icmp->code = complaint->code;
	icmp->sequence = complaint->mtu;
	icmp->checksum = answer_sum(icmp, length, 0);
	return answer_place(ctx, &answer, length);
}

/* Turns packet, which is dropped for a reason, into the answer to it. False: it is
 * no such answer, and must not be sent.
 */
static __noinline bool answer(ctx_t *ctx, const struct packet *packet, enum counter reason,
			      __u16 mtu)
{
	struct complaint complaint = {
		.from = packet->key.daddr,
		.type = ICMP_UNREACHABLE,
		.code = ICMP_PORT_UNREACHABLE,
	};

	if (reason == DROP_TTL_EXCEEDED) {
		complaint.from = own_address(ctx, packet);
		complaint.type = ICMP_TIME_EXCEEDED;
		complaint.code = 0; /* in transit */
	} else if (reason == DROP_MTU_EXCEEDED) {
		complaint.from = own_address(ctx, packet);
		complaint.code = ICMP_FRAGMENTATION_NEEDED;
		complaint.mtu = bpf_htons(mtu);
	} else if (packet->key.proto == IPPROTO_TCP) {
		return answer_reset(ctx, packet);
	} else if (packet->key.proto == IPPROTO_SCTP) {
		return answer_abort(ctx, packet);
	}
	return answer_error(ctx, packet, &complaint);
}

#endif /* WEIR_LIB_ICMP_ERROR_H */
