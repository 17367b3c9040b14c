/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The rewrite of a packet by its flow. */
#ifndef WEIR_LIB_NAT_H
#define WEIR_LIB_NAT_H

#include "lib/crc32c.h"
#include "lib/nexthop.h"

/* TTL is the low byte of its 16-bit word of the header; one less adds this. */
#define TTL_DELTA ((__u16)~bpf_htons(0x0100))

static __always_inline void rewrite_ethernet(void *data, const struct nexthop *hop)
{
	word_t *mac = data;
	const word_t *from = (const word_t *)hop->dmac;

	mac[0] = from[0];
	mac[1] = from[1];
	mac[2] = from[2];
}

/* hop is NULL, or the packet starts here: the kernel sees to the TTL. */
static __always_inline void rewrite_ip(struct iphdr *ip, const struct rewrite *to,
				       const struct nexthop *hop)
{
	__u32 delta = to->csum_addr;

	ip->saddr = to->saddr;
	ip->daddr = to->daddr;
	if (hop && !ctx_starts_here()) {
		ip->ttl--;
		delta += TTL_DELTA;
	}
	ip->check = csum_apply(ip->check, delta);
}

/* SCTP has no pseudo-header: its CRC follows the ports alone. */
static __always_inline void rewrite_sctp(struct sctphdr *sctp, const struct packet *packet,
					 word_t old_ports, word_t new_ports)
{
	__u32 words = (packet->length - (packet->l4 - ETH_HLEN)) / 4;

	if (old_ports != new_ports && !ctx_crc_is_pending(sctp->crc))
		sctp->crc ^= crc32c_advance(old_ports ^ new_ports, words);
}

/* Rewrites addresses, ports, checksums, TTL and, if hop has them, MACs. Without
 * hop the kernel takes the packet where it goes. False: the headers that parse has
 * seen are gone, which cannot be.
 */
static __always_inline bool rewrite(ctx_t *ctx, const struct packet *packet,
				    const struct rewrite *to, const struct nexthop *hop)
{
	__u32 offset = packet->l4 & 127;
	void *data = ctx_data(ctx);
	void *end = ctx_data_end(ctx);
	void *l4 = data + offset;
	word_t new_ports = *(const word_t *)&to->sport;

	if (data + ETH_HLEN + sizeof(struct iphdr) > end || l4 + sizeof(struct udphdr) > end)
		return false;
	if (hop && hop->flags & NEXTHOP_VALID)
		rewrite_ethernet(data, hop);
	rewrite_ip(data + ETH_HLEN, to, hop);
	switch (packet->key.proto) {
	case IPPROTO_TCP:
		if (l4 + sizeof(struct tcphdr) > end)
			return false;
		*(word_t *)l4 = new_ports;
		ctx_fix_sum(ctx, l4 + offsetof(struct tcphdr, check),
			    offset + offsetof(struct tcphdr, check), to->csum_addr, to->csum_port,
			    false);
		return true;
	case IPPROTO_UDP:
		*(word_t *)l4 = new_ports;
		ctx_fix_sum(ctx, l4 + offsetof(struct udphdr, check),
			    offset + offsetof(struct udphdr, check), to->csum_addr, to->csum_port,
			    true);
		return true;
	case IPPROTO_SCTP:
		if (l4 + sizeof(struct sctphdr) > end)
			return false;
		rewrite_sctp(l4, packet, *(word_t *)l4, new_ports);
		*(word_t *)l4 = new_ports;
		return true;
	}
	return false;
}

#endif /* WEIR_LIB_NAT_H */
