// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// clang-format off
//go:build ignore
// clang-format on

/* What the benchmarks compare with, send from and arrive at.
 *
 * A stream is a table of packet headers. Whoever sends a packet of it writes its
 * headers anew, because neither test_run nor its live frames give a packet back as
 * it was: they hand out what the last run has left.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define HEADER_WORDS  7 /* 56 bytes: Ethernet, IP and TCP headers, or more */
#define SAMPLE_LENGTH 60
#define MAX_STREAM    65536
#define MAX_LINES     131072

/* The first payload bytes of each datagram of the chain, "weir". */
#define MARK bpf_htonl(0x77656972)

char _license[] SEC("license") = "Dual BSD/GPL";

struct headers {
	__u64 words[HEADER_WORDS + 1];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct headers);
	__uint(max_entries, MAX_STREAM);
} stream SEC(".maps");

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

enum tally {
	TALLY_SENT = 0,	    /* by the generator */
	TALLY_TRANSLATED,   /* at the sink: to a backend and not from the client */
	TALLY_UNTRANSLATED, /* at the sink: as it was sent */
	TALLY_RETURNED,	    /* back at the client, from the service */
	TALLY_STRANGE,	    /* at either end, and none of those */
	TALLIES,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, enum tally);
	__type(value, __u64);
	__uint(max_entries, TALLIES);
} tallies SEC(".maps");

struct sample {
	__u8 frame[SAMPLE_LENGTH + 4];
};

/* The last frame that the sink sent back, as it came. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct sample);
	__uint(max_entries, 1);
} samples SEC(".maps");

struct table_key {
	__be32 saddr;
	__be32 daddr;
	__u32 ports;
	__u32 protocol;
};

struct table_value {
	__u64 packets;
	__u64 words[5];
};

/* A hash table as weir's flows: as large, with keys and values of the same size. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct table_key);
	__type(value, struct table_value);
	__uint(max_entries, 1048576);
} table SEC(".maps");

struct line {
	__u64 key;
	__u64 packets;
	__u64 words[6];
};

/* As many lines as each CPU has for copies of flows in weir. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct line);
	__uint(max_entries, MAX_LINES);
} lines SEC(".maps");

__u32 packets;	/* in the stream */
__u32 in_turn;	/* one after the other; 0: in random order */
__u32 position; /* of in_turn, or the state of the random numbers */

__u32 out_ifindex; /* where generator and floors send to */
__u16 out_dmac[3];
__u16 out_smac[3];
__u32 bounce;	  /* the sink sends each datagram back to where it came from */
__be32 service;	  /* the VIP */
__be32 backends;  /* the first address of the backends' network, a /24 */
__be32 strangers; /* the first address of the clients' network, a /15 */

static __always_inline void tally(enum tally what)
{
	__u64 *n = bpf_map_lookup_elem(&tallies, &what);

	if (n)
		*n += 1;
}

static __always_inline void write_headers(void *data, void *end)
{
	struct headers *from;
	__u64 *to = data;
	__u32 index;

	if (in_turn) {
		index = position;
		position = index + 1 >= packets ? 0 : index + 1;
	} else {
		position = position * 1664525 + 1013904223;
		index = (__u64)position * packets >> 32;
	}
	from = bpf_map_lookup_elem(&stream, &index);
	if (!from || data + HEADER_WORDS * 8 > end)
		return;
	for (int i = 0; i < HEADER_WORDS; i++)
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

/* The floors of test_run: as little as a program can do to a packet. */
SEC("xdp.frags")
int floor_xdp(struct xdp_md *ctx)
{
	swap_macs((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	return XDP_TX;
}

SEC("tc")
int floor_tc(struct __sk_buff *ctx)
{
	swap_macs((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	return TC_ACT_OK;
}

/* The wrappers of test_run: write the next packet's headers, then call. */
SEC("xdp.frags")
int wrap_xdp(struct xdp_md *ctx)
{
	write_headers((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	bpf_tail_call(ctx, &xdp_target, 0);
	return XDP_ABORTED;
}

SEC("tc")
int wrap_tc(struct __sk_buff *ctx)
{
	write_headers((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	bpf_tail_call(ctx, &tc_target, 0);
	return TC_ACT_SHOT;
}

/* Sends the stream, by test_run with live frames. */
SEC("xdp")
int generate(struct xdp_md *ctx)
{
	write_headers((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	tally(TALLY_SENT);
	return bpf_redirect(out_ifindex, 0);
}

static __always_inline int to_next_hop(void *data, void *end)
{
	__u16 *mac = data;

	if (data + sizeof(struct ethhdr) > end || mac[6] != bpf_htons(ETH_P_IP))
		return 0;
	for (int i = 0; i < 3; i++) {
		mac[i] = out_dmac[i];
		mac[i + 3] = out_smac[i];
	}
	return 1;
}

/* The floors of the chain: new MACs, out by the other interface. */
SEC("xdp")
int redirect_xdp(struct xdp_md *ctx)
{
	if (!to_next_hop((void *)(long)ctx->data, (void *)(long)ctx->data_end))
		return XDP_PASS;
	return bpf_redirect(out_ifindex, 0);
}

/* The same with one lookup in a table of flows, whose entry it writes to: what
 * remembering connections costs whoever does it in a hash table.
 */
SEC("xdp")
int lookup_xdp(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct table_key key = {};
	struct table_value *value;

	if ((void *)(ip + 1) + 4 > end || !to_next_hop(data, end))
		return XDP_PASS;
	key.saddr = ip->saddr;
	key.daddr = ip->daddr;
	key.ports = *(__u32 *)(ip + 1);
	key.protocol = ip->protocol;
	value = bpf_map_lookup_elem(&table, &key);
	if (!value)
		return XDP_DROP;
	value->packets += 1;
	return bpf_redirect(out_ifindex, 0);
}

/* The same with one cache line for each flow, found without a search, read as for its
 * key and written to: the least that remembering connections costs, for together their
 * lines are larger than what a CPU has near it.
 */
SEC("xdp")
int line_xdp(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct line *line;
	__u32 index;

	if ((void *)(ip + 1) + 4 > end || !to_next_hop(data, end))
		return XDP_PASS;
	index = (ip->saddr ^ *(__u32 *)(ip + 1)) * 0x9e3779b1 >> 15;
	line = bpf_map_lookup_elem(&lines, &index);
	if (!line || line->key)
		return XDP_DROP;
	line->packets += 1;
	return bpf_redirect(out_ifindex, 0);
}

SEC("tc")
int redirect_tc(struct __sk_buff *ctx)
{
	if (!to_next_hop((void *)(long)ctx->data, (void *)(long)ctx->data_end))
		return TC_ACT_OK;
	return bpf_redirect(out_ifindex, 0);
}

/* One of the generator's datagrams, by its mark; all else is the kernel's. */
static __always_inline struct iphdr *own_datagram(void *data, void *end)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	__be32 *mark = data + sizeof(*eth) + sizeof(*ip) + sizeof(struct udphdr);

	if ((void *)(mark + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return NULL;
	if (ip->ihl != 5 || ip->protocol != IPPROTO_UDP || *mark != MARK)
		return NULL;
	return ip;
}

static __always_inline int is_stranger(__be32 addr)
{
	return (addr & bpf_htonl(0xfffe0000)) == strangers;
}

static __always_inline int is_backend(__be32 addr)
{
	return (addr & bpf_htonl(0xffffff00)) == backends;
}

static __always_inline int send_back(struct xdp_md *ctx, struct iphdr *ip)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct udphdr *udp = (void *)(ip + 1);
	struct sample *sample;
	__u32 zero = 0;
	__be16 port;
	__be32 addr;

	sample = bpf_map_lookup_elem(&samples, &zero);
	if (!sample || data + SAMPLE_LENGTH > end || (void *)(udp + 1) > end)
		return XDP_DROP;
	__builtin_memcpy(sample->frame, data, SAMPLE_LENGTH);
	swap_macs(data, end);
	addr = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = addr;
	port = udp->source;
	udp->source = udp->dest;
	udp->dest = port;
	/* Not XDP_TX: on veth it wakes only a peer that has an XDP program. */
	return bpf_redirect(ctx->ingress_ifindex, 0);
}

/* Ends the chain at the server. */
SEC("xdp")
int sink(struct xdp_md *ctx)
{
	struct iphdr *ip = own_datagram((void *)(long)ctx->data, (void *)(long)ctx->data_end);

	if (!ip)
		return XDP_PASS;
	if (is_backend(ip->daddr) && !is_stranger(ip->saddr))
		tally(TALLY_TRANSLATED);
	else if (ip->daddr == service && is_stranger(ip->saddr))
		tally(TALLY_UNTRANSLATED);
	else
		tally(TALLY_STRANGE);
	return bounce ? send_back(ctx, ip) : XDP_DROP;
}

/* Counts at the client what came back. */
SEC("xdp")
int home(struct xdp_md *ctx)
{
	struct iphdr *ip = own_datagram((void *)(long)ctx->data, (void *)(long)ctx->data_end);

	if (!ip)
		return XDP_PASS;
	tally(ip->saddr == service && is_stranger(ip->daddr) ? TALLY_RETURNED : TALLY_STRANGE);
	return XDP_DROP;
}
