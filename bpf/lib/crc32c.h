/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Changes a CRC32c without reading the payload. A CRC is linear: flipping the
 * bits d of a 32-bit word flips in the CRC what d becomes while the rest of the
 * packet passes, and that depends only on how many words follow. Advancing by n
 * words is a 32x32 bit matrix; it is applied by nibbles, and n is split into
 * three digits of base 64: 8 loads do 252 bytes, 16 do 16 KiB, and 24 any length.
 */
#ifndef WEIR_LIB_CRC32C_H
#define WEIR_LIB_CRC32C_H

#include "lib/crc32c_table.h"

static __always_inline __u32 crc32c_digit(__u32 bits, const __u32 table[8][16])
{
	__u32 result = 0;

#pragma unroll
	for (int i = 0; i < 8; i++)
		result ^= table[i][bits >> 4 * i & 15];
	return result;
}

/* What flipping bits in a word, taken in little-endian order, flips in the CRC
 * (RFC 9260, appendix A) of a packet that has words 32-bit words from that one,
 * inclusive, to its end.
 */
static __always_inline __u32 crc32c_advance(__u32 bits, __u32 words)
{
	if (words & 63)
		bits = crc32c_digit(bits, crc32c_table[0][words & 63]);
	if (words >> 6 & 63)
		bits = crc32c_digit(bits, crc32c_table[1][words >> 6 & 63]);
	if (words >> 12 & 63)
		bits = crc32c_digit(bits, crc32c_table[2][words >> 12 & 63]);
	return bits;
}

#endif /* WEIR_LIB_CRC32C_H */
