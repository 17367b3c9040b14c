// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// clang-format off
//go:build ignore
// clang-format on

#include "lib/xdp.h"

#include "lib/process.h"

char _license[] SEC("license") = "Dual BSD/GPL";

SEC("xdp.frags")
int weir_xdp(struct xdp_md *ctx)
{
	return process(ctx);
}
