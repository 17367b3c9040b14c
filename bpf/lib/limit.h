/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* How many packets of its own this node sends: echo replies, refusals and ICMP
 * errors. A bucket refills one answer each interval and holds a burst; what is kept
 * of it is one word, the time at which it is full again (GCRA), changed by compare
 * and swap. An empty bucket is only read, so a flood moves no cache line between
 * CPUs, and buckets for each CPU would bound nothing more.
 */
#ifndef WEIR_LIB_LIMIT_H
#define WEIR_LIB_LIMIT_H

#include "lib/maps.h"

/* To one source within any second: burst + rate = 100. Enough for a person's
 * tools; half of it at once lets a page's connections all be refused.
 */
#define LIMIT_SOURCE_RATE  50
#define LIMIT_SOURCE_BURST 50

/* To all. Linux itself sends 1000 ICMP messages a second (icmp_msgs_per_sec). */
#define LIMIT_TOTAL_RATE  1000
#define LIMIT_TOTAL_BURST 1000

#define LIMIT_TOTAL   0 /* its index; sources have those behind it */
#define LIMIT_SOURCES (MAX_LIMITS - 1)

_Static_assert((LIMIT_SOURCES & (LIMIT_SOURCES - 1)) == 0, "buckets are found by masking");

/* Takes an answer out of a bucket. False: it is empty, or another CPU was faster. */
static __always_inline bool limit_take(__u32 index, __u64 now, __u32 rate, __u32 burst)
{
	__u64 *full_at = bpf_map_lookup_elem(&limits, &index);
	__u64 interval = NSEC_PER_SEC / rate;
	__u64 old, from;

	if (!full_at)
		return false;
	old = *(volatile __u64 *)full_at;
	from = old > now ? old : now;
	if (from - now > (burst - 1) * interval)
		return false;
	return __sync_val_compare_and_swap(full_at, old, from + interval) == old;
}

/* Whether source may be answered now. Sources whose hashes meet share a bucket:
 * memory is bounded, and the worst is an answer that is not given.
 */
static __always_inline bool limit_allows(__be32 source)
{
	__u64 now = bpf_ktime_get_ns();
	__u32 hash = source * 0x9e3779b1;
	__u32 bucket = LIMIT_TOTAL + 1 + ((hash ^ hash >> 16) & (LIMIT_SOURCES - 1));

	return limit_take(bucket, now, LIMIT_SOURCE_RATE, LIMIT_SOURCE_BURST) &&
	       limit_take(LIMIT_TOTAL, now, LIMIT_TOTAL_RATE, LIMIT_TOTAL_BURST);
}

#endif /* WEIR_LIB_LIMIT_H */
