/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* From a frame to what the rest needs to know of it. Include after lib/xdp.h or
 * lib/tc.h.
 */
#ifndef WEIR_LIB_PARSE_H
#define WEIR_LIB_PARSE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>

#include "lib/sctp.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define IP_FRAGMENT_MASK bpf_htons(0x3fff) /* more fragments, offset */
#define IP_OFFSET_MASK	 bpf_htons(0x1fff)

#define MAX_L4_OFFSET (ETH_HLEN + 60)
#define HEADERS	      (MAX_L4_OFFSET + 20) /* bytes that parse and rewrite look at */

/* linux/icmp.h needs the C library's headers. RFC 792. */
#define ICMP_ECHOREPLY	   0
#define ICMP_UNREACHABLE   3
#define ICMP_ECHO	   8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER	   12

struct icmphdr {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be16 id;
	__be16 sequence;
};

enum shape {
	SHAPE_OTHER,	/* not ours to look at: another protocol, VLAN or station */
	SHAPE_PACKET,	/* TCP, UDP or SCTP; the key is complete */
	SHAPE_ECHO,	/* ICMP echo request */
	SHAPE_ERROR,	/* ICMP error: about a packet, which it quotes */
	SHAPE_PROTOCOL, /* another protocol over IPv4 */
	SHAPE_FRAGMENT, /* the key has ports only in the first fragment */
	SHAPE_MALFORMED,
};

/* What a packet says of its connection; data say nothing. */
enum signal {
	SIGNAL_FIRST = 1 << 0,	   /* SYN, INIT: opens a connection */
	SIGNAL_FIN = 1 << 1,	   /* FIN: its sender has closed */
	SIGNAL_RESET = 1 << 2,	   /* RST, ABORT, SHUTDOWN COMPLETE: it is over */
	SIGNAL_ADDRESSES = 1 << 3, /* INIT, INIT ACK: may list addresses */
};

struct packet {
	struct flow_key key;
	__u32 length;  /* IP total length in bytes; Ethernet padding is not in it */
	__u32 l4;      /* offset of the layer 4 header in the frame */
	__u32 headers; /* bytes of the IP and layer 4 headers */
	__u8 ttl;
	__u8 tos;
	__u8 signals; /* enum signal */
	__u8 pad;
};

/* A key is stored by the words that it is loaded by. A load that spans several stores is
 * not forwarded from them: it waits until they are done, 5 ns of the 31 that an
 * established packet cost.
 */
static __always_inline void parse_addresses(struct packet *packet, const struct iphdr *ip)
{
	__be32 saddr = ip->saddr, daddr = ip->daddr;

	((dword_t *)&packet->key)[0] = saddr | (__u64)daddr << 32;
}

static __always_inline void parse_ports(struct packet *packet, const void *l4, __u8 proto)
{
	((dword_t *)&packet->key)[1] = *(const word_t *)l4 | (__u64)proto << 32;
}

static __always_inline enum shape parse_tcp(struct packet *packet, const void *l4, const void *end)
{
	const struct tcphdr *tcp = l4;
	__u32 room = packet->length - (packet->l4 - ETH_HLEN);
	__u32 header;

	if (unlikely(room < sizeof(*tcp)))
		return SHAPE_MALFORMED;
	if (unlikely((const void *)(tcp + 1) > end))
		return SHAPE_OTHER;
	parse_ports(packet, l4, IPPROTO_TCP);
	header = tcp->doff * 4;
	if (unlikely(header < sizeof(*tcp) || header > room))
		return SHAPE_MALFORMED;
	packet->headers += header;
	if (unlikely(tcp->syn && !tcp->ack && !tcp->rst && !tcp->fin))
		packet->signals = SIGNAL_FIRST;
	else if (unlikely(tcp->rst))
		packet->signals = SIGNAL_RESET;
	else if (unlikely(tcp->fin))
		packet->signals = SIGNAL_FIN;
	return SHAPE_PACKET;
}

static __always_inline enum shape parse_udp(struct packet *packet, const void *l4, const void *end)
{
	const struct udphdr *udp = l4;
	__u32 room = packet->length - (packet->l4 - ETH_HLEN);
	__u32 length;

	if (unlikely(room < sizeof(*udp)))
		return SHAPE_MALFORMED;
	if (unlikely((const void *)(udp + 1) > end))
		return SHAPE_OTHER;
	parse_ports(packet, l4, IPPROTO_UDP);
	length = bpf_ntohs(udp->len);
	if (unlikely(length < sizeof(*udp) || length > room))
		return SHAPE_MALFORMED;
	packet->headers += sizeof(*udp);
	return SHAPE_PACKET;
}

/* A packet ends where its last chunk, padded to 4 bytes, ends (RFC 9260, 3.2). */
static __always_inline enum shape parse_sctp(struct packet *packet, const void *l4, const void *end)
{
	const struct sctphdr *sctp = l4;
	const struct sctp_chunk *chunk = (const void *)(sctp + 1);
	__u32 room = packet->length - (packet->l4 - ETH_HLEN);

	if (unlikely(room < sizeof(*sctp) + sizeof(*chunk)))
		return SHAPE_MALFORMED;
	if (unlikely((const void *)(chunk + 1) > end))
		return SHAPE_OTHER;
	parse_ports(packet, l4, IPPROTO_SCTP);
	if (unlikely(room % 4))
		return SHAPE_MALFORMED;
	packet->headers += sizeof(*sctp);
	switch (chunk->type) {
	case SCTP_INIT:
		packet->signals = SIGNAL_ADDRESSES;
		if (!sctp->vtag)
			packet->signals |= SIGNAL_FIRST;
		break;
	case SCTP_INIT_ACK:
		packet->signals = SIGNAL_ADDRESSES;
		break;
	case SCTP_ABORT:
	case SCTP_SHUTDOWN_COMPLETE:
		packet->signals = SIGNAL_RESET;
		break;
	}
	return SHAPE_PACKET;
}

static __always_inline enum shape parse_icmp(struct packet *packet, const void *l4, const void *end)
{
	const struct icmphdr *icmp = l4;

	if (packet->length - (packet->l4 - ETH_HLEN) < sizeof(*icmp))
		return SHAPE_MALFORMED;
	if ((const void *)(icmp + 1) > end)
		return SHAPE_OTHER;
	switch (icmp->type) {
	case ICMP_ECHO:
		return icmp->code ? SHAPE_PROTOCOL : SHAPE_ECHO;
	case ICMP_UNREACHABLE:
	case ICMP_TIME_EXCEEDED:
	case ICMP_PARAMETER:
		return SHAPE_ERROR;
	}
	return SHAPE_PROTOCOL;
}

static __always_inline enum shape parse_fragment(struct packet *packet, const void *l4,
						 const void *end, bool first)
{
	if (first && packet->length >= packet->l4 - ETH_HLEN + 4 && l4 + 4 <= end)
		*(word_t *)&packet->key.sport = *(const word_t *)l4;
	return SHAPE_FRAGMENT;
}

/* Fills packet, which must be zeroed. Addresses are set unless SHAPE_OTHER is
 * returned; all else only for SHAPE_PACKET. Headers that are there by their
 * lengths but not linear make SHAPE_OTHER: XDP leaves such packets to TC.
 */
static __always_inline enum shape parse(ctx_t *ctx, struct packet *packet)
{
	ctx_pull(ctx, HEADERS);

	void *data = ctx_data(ctx);
	void *end = ctx_data_end(ctx);
	const struct ethhdr *eth = data;
	const struct iphdr *ip = data + ETH_HLEN;
	__u32 header;

	if ((void *)(ip + 1) > end)
		return SHAPE_OTHER;
	if (eth->h_proto != bpf_htons(ETH_P_IP) || ip->version != 4 || ctx_is_foreign(ctx))
		return SHAPE_OTHER;

	parse_addresses(packet, ip);
	packet->key.proto = ip->protocol;
	packet->ttl = ip->ttl;
	packet->tos = ip->tos;
	header = ip->ihl * 4;
	packet->length = bpf_ntohs(ip->tot_len);
	if (unlikely(!packet->length && ctx_gso_size(ctx))) /* longer than 16 bits can say */
		packet->length = ctx_length(ctx, 0) - ETH_HLEN;
	if (unlikely(header < sizeof(*ip) || packet->length < header))
		return SHAPE_MALFORMED;
	if (unlikely(ctx_length(ctx, ETH_HLEN + packet->length) < ETH_HLEN + packet->length))
		return SHAPE_MALFORMED;

	const void *l4 = data + ETH_HLEN + header;

	packet->l4 = ETH_HLEN + header;
	packet->headers = header;
	if (unlikely(ip->frag_off & IP_FRAGMENT_MASK))
		return parse_fragment(packet, l4, end, !(ip->frag_off & IP_OFFSET_MASK));
	switch (packet->key.proto) {
	case IPPROTO_TCP:
		return parse_tcp(packet, l4, end);
	case IPPROTO_UDP:
		return parse_udp(packet, l4, end);
	case IPPROTO_SCTP:
		return parse_sctp(packet, l4, end);
	case IPPROTO_ICMP:
		return parse_icmp(packet, l4, end);
	}
	return SHAPE_PROTOCOL;
}

#endif /* WEIR_LIB_PARSE_H */
