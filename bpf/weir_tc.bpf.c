//go:build ignore

// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <linux/pkt_cls.h>

#include "lib/counters.h"
#include "lib/enums.h"

char _license[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int weir_tc(struct __sk_buff *ctx)
{
	count(HOOK_TC, COUNTER_IN);
	count(HOOK_TC, COUNTER_PASSED);
	return TC_ACT_OK;
}

/* Go runs it twice to learn HZ, and before each sweep to learn the time. */
SEC("syscall")
int read_clock(struct clock *now)
{
	now->jiffies = bpf_jiffies64();
	now->nanoseconds = bpf_ktime_get_ns();
	return 0;
}
