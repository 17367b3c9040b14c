/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The address lists in INIT and INIT ACK of SCTP. They name addresses that the
 * other side would use beside the one that is translated, so they are taken out:
 * each parameter becomes padding of the same length (RFC 4820), which receivers
 * skip. Nothing moves, and the CRC follows as it does for ports.
 */
#ifndef WEIR_LIB_ADDRESSES_H
#define WEIR_LIB_ADDRESSES_H

#include "lib/crc32c.h"
#include "lib/parse.h"

/* A chunk with more is dropped as malformed: its last ones would not be looked at. */
#define MAX_PARAMETERS 32

static __always_inline bool is_address(__be16 type)
{
	return type == bpf_htons(SCTP_PARAM_IPV4) || type == bpf_htons(SCTP_PARAM_IPV6) ||
	       type == bpf_htons(SCTP_PARAM_HOSTNAME);
}

/* Where hide_addresses is. */
struct parameters {
	__u32 at;    /* offset of the next parameter in the frame */
	__u32 words; /* 32-bit words from there to the packet's end */
	__u32 flips; /* bits that have changed in the CRC */
};

/* Hides the next parameter if it is an address, and goes on behind it. A global
 * function, so that the verifier looks at it once and not in each round.
 */
__noinline bool hide_parameter(ctx_t *ctx, struct parameters *next)
{
	struct sctp_parameter parameter, hidden;
	__u32 words;

	if (!next || ctx_load(ctx, next->at, &parameter, sizeof(parameter)))
		return false;
	words = (bpf_ntohs(parameter.length) + 3) / 4;
	if (bpf_ntohs(parameter.length) < sizeof(parameter) || words > next->words)
		return false;
	if (is_address(parameter.type)) {
		hidden = parameter;
		hidden.type = bpf_htons(SCTP_PARAM_PADDING);
		if (ctx_store(ctx, next->at, &hidden, sizeof(hidden)))
			return false;
		next->flips ^=
			crc32c_advance(*(word_t *)&parameter ^ *(word_t *)&hidden, next->words);
	}
	next->at += words * 4;
	next->words -= words;
	return true;
}

static __always_inline bool flip_crc(ctx_t *ctx, __u32 offset, __u32 flips)
{
	__le32 crc;

	if (ctx_load(ctx, offset, &crc, sizeof(crc)))
		return false;
	if (ctx_crc_is_pending(crc))
		return true;
	crc ^= flips;
	return !ctx_store(ctx, offset, &crc, sizeof(crc));
}

/* Hides all addresses of an INIT or INIT ACK. False: the chunk is malformed.
 * Pointers into the packet are void after it.
 */
static __noinline bool hide_addresses(ctx_t *ctx, const struct packet *packet)
{
	__u32 length = packet->length - (packet->l4 - ETH_HLEN);
	__u32 start = sizeof(struct sctphdr) + sizeof(struct sctp_chunk) + SCTP_INIT_FIXED;
	struct parameters next = {
		.at = packet->l4 + start,
		.words = (length - start) / 4,
	};
	struct sctp_chunk chunk;
	__u32 end;

	if (length < start ||
	    ctx_load(ctx, packet->l4 + sizeof(struct sctphdr), &chunk, sizeof(chunk)))
		return false;
	end = sizeof(struct sctphdr) + bpf_ntohs(chunk.length);
	if (end > length || end < start)
		return false;
	end += packet->l4;
	for (int i = 0; i < MAX_PARAMETERS; i++) {
		if (next.at + sizeof(struct sctp_parameter) > end)
			break;
		if (!hide_parameter(ctx, &next))
			return false;
	}
	if (next.at + sizeof(struct sctp_parameter) <= end)
		return false;
	return !next.flips || flip_crc(ctx, packet->l4 + offsetof(struct sctphdr, crc), next.flips);
}

#endif /* WEIR_LIB_ADDRESSES_H */
