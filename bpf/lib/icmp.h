/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A VIP answers ping. No interface has the address, so the kernel would not. */
#ifndef WEIR_LIB_ICMP_H
#define WEIR_LIB_ICMP_H

#include "lib/parse.h"

#define ECHO_TTL 64

static __always_inline void ethernet_turn(struct ethhdr *eth)
{
	__u16 *dest = (__u16 *)eth->h_dest, *source = (__u16 *)eth->h_source;

	for (int i = 0; i < ETH_ALEN / 2; i++) {
		__u16 word = dest[i];

		dest[i] = source[i];
		source[i] = word;
	}
}

static __always_inline void echo_turn_ip(struct iphdr *ip)
{
	__be32 addr = ip->saddr;

	ip->saddr = ip->daddr;
	ip->daddr = addr;
	ip->check = csum_apply(ip->check,
			       csum_delta16(bpf_htons(ip->ttl << 8), bpf_htons(ECHO_TTL << 8)));
	ip->ttl = ECHO_TTL;
}

/* Turns an echo request into its reply. False: the headers are gone. */
static __always_inline bool echo_turn(ctx_t *ctx, const struct packet *packet)
{
	void *data = ctx_data(ctx);
	void *end = ctx_data_end(ctx);
	struct iphdr *ip = data + ETH_HLEN;
	struct icmphdr *icmp = data + (packet->l4 & 127);

	if ((void *)(ip + 1) > end || (void *)(icmp + 1) > end)
		return false;
	ethernet_turn(data);
	echo_turn_ip(ip);
	icmp->type = ICMP_ECHOREPLY;
	icmp->checksum = csum_apply(icmp->checksum, csum_delta16(bpf_htons(ICMP_ECHO << 8),
								 bpf_htons(ICMP_ECHOREPLY << 8)));
	return true;
}

#endif /* WEIR_LIB_ICMP_H */
