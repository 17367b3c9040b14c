// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// clang-format off
//go:build ignore
// clang-format on

/* What the benchmarks compare with and run through. test_run does not restore a
 * packet between repetitions, so wrap_* write its headers anew each time, of the
 * next of several flows, and then call the program under test.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#define TEMPLATE_WORDS 7

char _license[] SEC("license") = "Dual BSD/GPL";

struct template
{
	__u64 words[TEMPLATE_WORDS + 1];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct template);
	__uint(max_entries, 65536);
} templates SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} xdp_target SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} tc_target SEC(".maps");

__u32 flow_mask; /* flows - 1, a power of two less one */
__u32 position;

static __always_inline void restore(void *data, void *end)
{
	__u32 index = (position = position * 1664525 + 1013904223) >> 8 & flow_mask & 0xffff;
	struct template *from = bpf_map_lookup_elem(&templates, &index);
	__u64 *to = data;

	if (!from || data + TEMPLATE_WORDS * 8 > end)
		return;
	for (int i = 0; i < TEMPLATE_WORDS; i++)
		to[i] = from->words[i];
}

static __always_inline void swap_macs(void *data, void *end)
{
	__u16 *mac = data;

	if (data + 12 > end)
		return;
	for (int i = 0; i < 3; i++) {
		__u16 word = mac[i];

		mac[i] = mac[i + 3];
		mac[i + 3] = word;
	}
}

SEC("xdp.frags")
int floor_xdp(struct xdp_md *ctx)
{
	swap_macs((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	return XDP_TX;
}

SEC("xdp.frags")
int wrap_xdp(struct xdp_md *ctx)
{
	restore((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	bpf_tail_call(ctx, &xdp_target, 0);
	return XDP_ABORTED;
}

SEC("tc")
int floor_tc(struct __sk_buff *ctx)
{
	swap_macs((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	return TC_ACT_OK;
}

SEC("tc")
int wrap_tc(struct __sk_buff *ctx)
{
	restore((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	bpf_tail_call(ctx, &tc_target, 0);
	return TC_ACT_SHOT;
}
