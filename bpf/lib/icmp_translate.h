/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* ICMP errors about packets that were rewritten here. What they quote is the packet
 * as it left, so the flow that takes its answers takes the error too: the quote gets
 * back the addresses that its sender knows. So path-MTU discovery works through a
 * VIP, and a client learns that a backend's port is closed. No error changes a flow,
 * or keeps one alive.
 */
#ifndef WEIR_LIB_ICMP_TRANSLATE_H
#define WEIR_LIB_ICMP_TRANSLATE_H

#include "lib/halfopen.h"
#include "lib/nat.h"

/* The packet that an error is about. */
struct quote {
	struct flow_key answers; /* what answers to it look like */
	__u32 ip;		 /* offsets of its headers in the frame */
	__u32 l4;
	__u32 end;   /* of what is there of it */
	__u32 words; /* 32-bit words of its layer 4 as it was sent */
};

/* Reads what an error quotes. False: nothing that a flow could have sent, or not
 * enough of it. A later fragment has no ports.
 */
static __always_inline bool quote_read(ctx_t *ctx, const struct packet *packet, struct quote *quote)
{
	struct iphdr ip;
	__be16 ports[2];
	__u32 header, length;

	quote->ip = packet->l4 + sizeof(struct icmphdr);
	quote->end = ETH_HLEN + packet->length;
	if (quote->ip + sizeof(ip) > quote->end || ctx_load(ctx, quote->ip, &ip, sizeof(ip)))
		return false;
	header = ip.ihl * 4;
	length = bpf_ntohs(ip.tot_len);
	quote->l4 = quote->ip + header;
	if (ip.version != 4 || header < sizeof(ip) || length < header + 8 ||
	    quote->l4 + 8 > quote->end || ip.frag_off & IP_OFFSET_MASK)
		return false;
	if (ctx_load(ctx, quote->l4, ports, sizeof(ports)))
		return false;
	quote->words = (length - header) / 4;
	quote->answers.saddr = ip.daddr;
	quote->answers.daddr = ip.saddr;
	quote->answers.sport = ports[1];
	quote->answers.dport = ports[0];
	quote->answers.proto = ip.protocol;
	return ip.saddr == packet->key.daddr;
}

/* The flow along which the error goes, a copy of it while it is half-open. */
static __always_inline struct flow *quote_flow(const struct quote *quote, struct flow *copy)
{
	struct flow *flow = bpf_map_lookup_elem(&flows, &quote->answers);

	if (flow)
		return flow;
	return halfopen_read(&quote->answers, copy) ? copy : NULL;
}

/* Gives the quoted IP header its sender's addresses back, and adds to delta what
 * that does to the ICMP checksum.
 */
static __always_inline bool quote_address(ctx_t *ctx, const struct quote *quote,
					  const struct flow *flow, __u32 *delta)
{
	struct iphdr ip;
	__u16 check;

	if (ctx_load(ctx, quote->ip, &ip, sizeof(ip)))
		return false;
	check = csum_apply(ip.check, flow->csum_addr);
	*delta += csum_delta16(ip.check, check) + csum_delta32(ip.saddr, flow->daddr) +
		  csum_delta32(ip.daddr, flow->saddr);
	ip.check = check;
	ip.saddr = flow->daddr;
	ip.daddr = flow->saddr;
	return !ctx_store(ctx, quote->ip, &ip, sizeof(ip));
}

/* Same for the quoted checksum of TCP or UDP, if it is there. */
static __always_inline bool quote_sum(ctx_t *ctx, const struct quote *quote, __u32 offset,
				      const struct flow *flow, __u32 *delta)
{
	bool udp = quote->answers.proto == IPPROTO_UDP;
	__u16 old, sum;

	if (quote->l4 + offset + sizeof(old) > quote->end)
		return true;
	if (ctx_load(ctx, quote->l4 + offset, &old, sizeof(old)))
		return false;
	if (udp && !old)
		return true;
	sum = csum_apply(old, (__u32)flow->csum_addr + flow->csum_port);
	if (udp && !sum)
		sum = 0xffff;
	*delta += csum_delta16(old, sum);
	return !ctx_store(ctx, quote->l4 + offset, &sum, sizeof(sum));
}

/* Same for the quoted CRC of SCTP, which needs the length of the packet alone. */
static __always_inline bool quote_crc(ctx_t *ctx, const struct quote *quote, word_t old_ports,
				      word_t new_ports, __u32 *delta)
{
	__u32 at = quote->l4 + offsetof(struct sctphdr, crc);
	__u32 old, crc;

	if (at + sizeof(old) > quote->end)
		return true;
	if (ctx_load(ctx, at, &old, sizeof(old)))
		return false;
	crc = old ^ crc32c_advance(old_ports ^ new_ports, quote->words);
	*delta += csum_delta32(old, crc);
	return !ctx_store(ctx, at, &crc, sizeof(crc));
}

/* Same for the quoted layer 4 header. */
static __always_inline bool quote_ports(ctx_t *ctx, const struct quote *quote,
					const struct flow *flow, __u32 *delta)
{
	__be16 new_ports[2] = {flow->dport, flow->sport};
	__be16 old_ports[2] = {quote->answers.dport, quote->answers.sport};
	word_t from = *(word_t *)old_ports, to = *(word_t *)new_ports;

	*delta += csum_delta32(from, to);
	if (ctx_store(ctx, quote->l4, new_ports, sizeof(new_ports)))
		return false;
	switch (quote->answers.proto) {
	case IPPROTO_TCP:
		return quote_sum(ctx, quote, offsetof(struct tcphdr, check), flow, delta);
	case IPPROTO_UDP:
		return quote_sum(ctx, quote, offsetof(struct udphdr, check), flow, delta);
	case IPPROTO_SCTP:
		return quote_crc(ctx, quote, from, to, delta);
	}
	return false;
}

/* Rewrites the packet itself; hop is as in nat.h. Its source becomes that of the
 * flow, whoever speaks: the one address that filters on the way let through, and none
 * from behind the VIP.
 */
static __always_inline bool error_address(ctx_t *ctx, const struct packet *packet,
					  const struct flow *flow, const struct nexthop *hop,
					  __u32 delta)
{
	__u32 offset = packet->l4 & 127;
	void *data = ctx_data(ctx);
	void *end = ctx_data_end(ctx);
	struct iphdr *ip = data + ETH_HLEN;
	struct icmphdr *icmp = data + offset;
	__u32 change;

	if ((void *)(ip + 1) > end || (void *)(icmp + 1) > end)
		return false;
	if (hop && hop->flags & NEXTHOP_VALID)
		rewrite_ethernet(data, hop);
	change = csum_delta32(ip->saddr, flow->saddr) + csum_delta32(ip->daddr, flow->daddr);
	if (hop && !ctx_starts_here()) {
		ip->ttl--;
		change += TTL_DELTA;
	}
	ip->check = csum_apply(ip->check, change);
	ip->saddr = flow->saddr;
	ip->daddr = flow->daddr;
	icmp->checksum = csum_apply(icmp->checksum, delta);
	return true;
}

/* Rewrites an error and what it quotes for its way along flow. Checksums change by
 * difference: one that came in wrong leaves wrong. False: nothing to be sent.
 */
static __noinline bool translate(ctx_t *ctx, const struct packet *packet, const struct quote *quote,
				 const struct flow *flow, const struct nexthop *hop)
{
	__u32 delta = 0;

	return quote_address(ctx, quote, flow, &delta) && quote_ports(ctx, quote, flow, &delta) &&
	       error_address(ctx, packet, flow, hop, delta);
}

#endif /* WEIR_LIB_ICMP_TRANSLATE_H */
