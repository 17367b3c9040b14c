// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// clang-format off
//go:build ignore
// clang-format on

#include "lib/egress.h"

#include "lib/process.h"

char _license[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int weir_egress(struct __sk_buff *ctx)
{
	return process(ctx);
}
