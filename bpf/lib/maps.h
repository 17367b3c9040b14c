/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* All maps, one line each of what key leads to what value, and who writes. */
#ifndef WEIR_LIB_MAPS_H
#define WEIR_LIB_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "lib/types.h"

#define MAX_VIPS     4096
#define MAX_SERVICES 16384
#define MAX_BACKENDS 131072
#define MAX_SLOTS    1048576
#define MAX_FLOWS    1048576 /* default; the loader may resize flows and flows_new */
#define MAX_NEXTHOPS 65536   /* as many as a flow's word can name */
#define MAX_DEVICES  1024
#define MAX_STAMPS   4096
#define MAX_COUNTERS 64 /* for each hook */
#define MAX_HOOKS    3
#define MAX_SOURCES  65536
#define MAX_CLIENTS  131072
#define MAX_LIMITS   4097 /* one for all answers, and sources share the others */

/* VIP -> flags and source ports. Written by Go, and deleted when no flow is of it: is_strange
 * asks this map and backend_addrs whether a packet can be some flow's.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __be32);
	__type(value, struct vip);
	__uint(max_entries, MAX_VIPS);
} vips SEC(".maps");

/* VIP, port, protocol -> service. Written by Go, after its slots. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct service_key);
	__type(value, struct service);
	__uint(max_entries, MAX_SERVICES);
} services SEC(".maps");

/* Flat array of backend ids; a service holds offset and length. Written by Go:
 * new region, then the service entry; the old region rests for a grace period.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, MAX_SLOTS);
} slots SEC(".maps");

/* id -> backend; id 0 is never used. Written by Go. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct backend);
	__uint(max_entries, MAX_BACKENDS);
} backends SEC(".maps");

/* Address -> how many backends have it, those that only flows name too: is_strange asks.
 * What comes from there and is of no flow may be an answer whose flow is another node's.
 * Written by Go, before the backend.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __be32);
	__type(value, __u32);
	__uint(max_entries, MAX_BACKENDS);
} backend_addrs SEC(".maps");

/* Index -> when its bucket is full again (lib/limit.h). Written by BPF. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, MAX_LIMITS);
} limits SEC(".maps");

/* Service id -> next slot for round robin. Per CPU, so that no line bounces;
 * each CPU walks the whole table, which keeps the weights. Written by BPF.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, MAX_SERVICES);
} rr_next SEC(".maps");

/* Service and client's prefix -> that it may come in. Written by Go, before the
 * service.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct source_key);
	__type(value, __u32);
	__uint(max_entries, MAX_SOURCES);
} sources SEC(".maps");

/* Service and client -> the backend that it keeps. Written by BPF. When it is full
 * clients that have not come for long may be given another one.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct affinity_key);
	__type(value, struct affinity);
	__uint(max_entries, MAX_CLIENTS);
} affinity SEC(".maps");

/* Index -> where packets leave. Index 0 is never used. Written by BPF. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct nexthop);
	__uint(max_entries, MAX_NEXTHOPS);
} nexthops SEC(".maps");

/* ifindex -> what the device can. Written by Go. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct device);
	__uint(max_entries, MAX_DEVICES);
} devices SEC(".maps");

/* Packet as it comes in -> rewrite. Established flows. BPF inserts, Go sweeps.
 * When it is full new flows are dropped; nothing is ever evicted.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct flow_key);
	__type(value, struct flow);
	__uint(max_entries, MAX_FLOWS);
} flows SEC(".maps");

/* CPU and hash of the key -> copy of an entry of flows. BPF writes, Go reads what was
 * counted. Elements of a map that can be mapped lie on a page, each on a line of its own.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct cached);
	__uint(max_entries, 1); /* set by the loader */
} cache SEC(".maps");

/* Hash of a key -> its stamp. Written by BPF. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct stamp);
	__uint(max_entries, MAX_STAMPS);
} stamps SEC(".maps");

/* One element, read by BPF. Written by Go. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct epoch);
	__uint(max_entries, 1);
} epoch SEC(".maps");

/* As flows, for half-open flows only: a SYN flood evicts nothing else. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct flow_key);
	__type(value, struct flow);
	__uint(max_entries, MAX_FLOWS / 4);
} flows_new SEC(".maps");

/* hook * MAX_COUNTERS + enum counter -> packets (lib/counters.h). */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, MAX_HOOKS *MAX_COUNTERS);
} counters SEC(".maps");

/* One element, read by BPF. Written by Go. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct config);
	__uint(max_entries, 1);
} config SEC(".maps");

#endif /* WEIR_LIB_MAPS_H */
