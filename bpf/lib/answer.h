/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Packets that this node sends itself to whoever sent one that goes no further. The
 * packet is turned into its answer and leaves where it came in, to the station that
 * it came from. An answer is never longer than what the protocol asks for: an RST
 * of 40 bytes, an ABORT of 36, an ICMP error with the IP header and 8 bytes.
 */
#ifndef WEIR_LIB_ANSWER_H
#define WEIR_LIB_ANSWER_H

#include "lib/crc32c.h"
#include "lib/icmp.h"
#include "lib/service.h"

#define ANSWER_TTL	 64
#define IP_DONT_FRAGMENT bpf_htons(0x4000)
#define IP_TOS_CONTROL	 0xc0 /* of ICMP errors: precedence 6 (RFC 1812, 4.3.2.5) */

#define QUOTE_MAX (60 + 8) /* the longest IP header, and 8 bytes (RFC 792) */

/* CRC32c of an ABORT whose words are all 0. It is linear: each word adds its own. */
#define ABORT_CRC_OF_ZEROS 0x42709aea

struct sctp_abort {
	struct sctphdr common;
	struct sctp_chunk chunk;
};

struct icmp_error {
	struct icmphdr header;
	__u8 quote[QUOTE_MAX];
};

/* A frame of ours without options. */
struct answer {
	__u16 pad;
	struct ethhdr eth;
	struct iphdr ip;
	union {
		struct tcphdr tcp;
		struct sctp_abort sctp;
		struct icmp_error icmp;
	};
};

#define ANSWER_L4 (ETH_HLEN + sizeof(struct iphdr))

/* 0/8, 127/8, multicast, reserved and broadcast are nobody's own. */
static __always_inline bool is_unicast(__be32 addr)
{
	__u8 first = *(const __u8 *)&addr;

	return first && first != 127 && first < 224;
}

static __always_inline __u16 answer_sum(const void *from, __u32 length, __u32 seed)
{
	return ~csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)from, length, seed));
}

/* Fills Ethernet and IP headers; length is that of what follows. */
static __always_inline bool answer_address(ctx_t *ctx, const struct packet *packet,
					   struct answer *answer, __u8 proto, __u32 length)
{
	if (ctx_load(ctx, 0, &answer->eth, sizeof(answer->eth)))
		return false;
	ethernet_turn(&answer->eth);
	answer->ip = (struct iphdr){
		.version = 4,
		.ihl = sizeof(answer->ip) / 4,
		.tot_len = bpf_htons(sizeof(answer->ip) + length),
		.frag_off = IP_DONT_FRAGMENT,
		.ttl = ANSWER_TTL,
		.protocol = proto,
		.saddr = packet->key.daddr,
		.daddr = packet->key.saddr,
	};
	return true;
}

/* Puts the answer in the packet's place. False: the packet is as it was. */
static __always_inline bool answer_place(ctx_t *ctx, struct answer *answer, __u32 length)
{
	answer->ip.check = answer_sum(&answer->ip, sizeof(answer->ip), 0);
	return ctx_replace(ctx, ANSWER_L4 + length) &&
	       !ctx_store(ctx, 0, &answer->eth, ANSWER_L4 + length);
}

/* Answers a SYN by RST (RFC 9293, 3.10.7.1: no ACK came, so <SEQ=0> and
 * <ACK=SEG.SEQ+SEG.LEN>, where SYN counts as one).
 */
static __noinline bool answer_reset(ctx_t *ctx, const struct packet *packet)
{
	struct answer answer = {};
	__be32 sequence;
	__u32 pseudo;

	if (ctx_load(ctx, packet->l4 + offsetof(struct tcphdr, seq), &sequence, sizeof(sequence)) ||
	    !answer_address(ctx, packet, &answer, IPPROTO_TCP, sizeof(answer.tcp)))
		return false;
	answer.tcp.source = packet->key.dport;
	answer.tcp.dest = packet->key.sport;
	answer.tcp.ack_seq = bpf_htonl(bpf_ntohl(sequence) + 1 + packet->length - packet->headers);
	answer.tcp.doff = sizeof(answer.tcp) / 4;
	answer.tcp.rst = 1;
	answer.tcp.ack = 1;
	pseudo = bpf_csum_diff(NULL, 0, &answer.ip.saddr, 8,
			       bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(answer.tcp)));
	answer.tcp.check = answer_sum(&answer.tcp, sizeof(answer.tcp), pseudo);
	return answer_place(ctx, &answer, sizeof(answer.tcp));
}

/* Answers an INIT by ABORT with the tag that INIT asks for, so without the T bit
 * (RFC 9260, 8.4 rule 3). A tag of 0 must not be answered (3.3.2).
 */
static __noinline bool answer_abort(ctx_t *ctx, const struct packet *packet)
{
	__u32 tag_at = sizeof(struct sctphdr) + sizeof(struct sctp_chunk);
	struct answer answer = {};
	struct sctp_abort *abort = &answer.sctp;

	if (packet->length < packet->l4 - ETH_HLEN + tag_at + SCTP_INIT_FIXED ||
	    ctx_load(ctx, packet->l4 + tag_at, &abort->common.vtag, sizeof(abort->common.vtag)) ||
	    !abort->common.vtag ||
	    !answer_address(ctx, packet, &answer, IPPROTO_SCTP, sizeof(*abort)))
		return false;
	abort->common.source = packet->key.dport;
	abort->common.dest = packet->key.sport;
	abort->chunk.type = SCTP_ABORT;
	abort->chunk.length = bpf_htons(sizeof(abort->chunk));
	abort->common.crc =
		ABORT_CRC_OF_ZEROS ^ crc32c_advance(*(word_t *)&abort->common.source, 4) ^
		crc32c_advance(abort->common.vtag, 3) ^ crc32c_advance(*(word_t *)&abort->chunk, 1);
	return answer_place(ctx, &answer, sizeof(*abort));
}

/* Whether a packet that is dropped for a reason is answered, if limits let it. A
 * datagram to a port that is no frontend may be an answer to a flow of the active
 * node: another node says nothing, for an ICMP error may close the sender's socket.
 */
static __always_inline bool answer_is_due(ctx_t *ctx, const struct packet *packet,
					  enum counter reason)
{
	const struct vip *vip;
	struct ethhdr eth;

	if (!is_unicast(packet->key.saddr) || ctx_is_to_other_station(ctx) ||
	    ctx_load(ctx, 0, &eth, sizeof(eth)) || eth.h_source[0] & 1)
		return false;
	switch (reason) {
	case DROP_NO_BACKEND:
	case DROP_TTL_EXCEEDED:
	case DROP_MTU_EXCEEDED:
		return true;
	case DROP_NO_SERVICE:
		vip = vip_find(packet->key.daddr);
		return packet->key.proto != IPPROTO_UDP || (vip && vip->flags & VIP_ACTIVE);
	default:
		return false;
	}
}

#endif /* WEIR_LIB_ANSWER_H */
