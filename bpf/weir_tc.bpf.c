// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// clang-format off
//go:build ignore
// clang-format on

#include "lib/tc.h"

#include "lib/enums.h"
#include "lib/process.h"

char _license[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int weir_tc(struct __sk_buff *ctx)
{
	return process(ctx);
}

/* Go runs it twice to learn HZ, and before each sweep to learn the time. */
SEC("syscall")
int read_clock(struct clock *now)
{
	now->jiffies = bpf_jiffies64();
	now->nanoseconds = bpf_ktime_get_ns();
	return 0;
}
