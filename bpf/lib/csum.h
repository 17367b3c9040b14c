/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Internet checksums, changed by deltas and never computed anew (RFC 1624): a
 * packet that came in corrupt goes out corrupt. One's complement sums do not
 * care about byte order, so 16-bit words are taken as they lie in memory.
 */
#ifndef WEIR_LIB_CSUM_H
#define WEIR_LIB_CSUM_H

#include <stdbool.h>
#include <linux/types.h>

/* Folds a sum of up to 65 536 words to 16 bits. */
static __always_inline __u16 csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* What a checksum's complement gains when a 16-bit word changes. */
static __always_inline __u32 csum_delta16(__u16 from, __u16 to)
{
	return (__u32)(__u16)~from + to;
}

/* Same for a 32-bit word. */
static __always_inline __u32 csum_delta32(__u32 from, __u32 to)
{
	return csum_delta16(from, to) + csum_delta16(from >> 16, to >> 16);
}

/* HC' = ~(~HC + delta), equation 3 of RFC 1624. */
static __always_inline __u16 csum_apply(__u16 sum, __u32 delta)
{
	return ~csum_fold((__u16)~sum + delta);
}

#endif /* WEIR_LIB_CSUM_H */
