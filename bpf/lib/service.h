/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* From a frontend to one of its backends. Needed for first packets only. */
#ifndef WEIR_LIB_SERVICE_H
#define WEIR_LIB_SERVICE_H

#include "lib/parse.h"

static __always_inline const struct service *service_find(__be32 vip, __be16 port, __u8 proto)
{
	struct service_key key = {
		.vip = vip,
		.port = port,
		.proto = proto,
	};

	return bpf_map_lookup_elem(&services, &key);
}

/* NULL: services have no such address. */
static __always_inline const struct vip *vip_find(__be32 addr)
{
	const struct vip *vip = bpf_map_lookup_elem(&vips, &addr);

	return vip && !(vip->flags & VIP_RETIRED) ? vip : NULL;
}

static __always_inline bool is_backend(__be32 addr)
{
	return bpf_map_lookup_elem(&backend_addrs, &addr);
}

/* Position of the next slot on this CPU. A table that has shrunk starts anew. */
static __always_inline __u32 service_round_robin(const struct service *service)
{
	__u32 index = service->id;
	__u32 *next = bpf_map_lookup_elem(&rr_next, &index);
	__u32 position;

	if (!next)
		return 0;
	position = *next < service->slot_count ? *next : 0;
	*next = position + 1;
	return position;
}

/* Full avalanche (Murmur3's finalizer), as clients are neighbours of each other. */
static __always_inline __u32 service_mix(__u32 hash)
{
	hash = (hash ^ hash >> 16) * 0x85ebca6b;
	hash = (hash ^ hash >> 13) * 0xc2b2ae35;
	return hash ^ hash >> 16;
}

/* Position by the client's address, the same on all nodes: who has to choose for it
 * anew after a failover, or once affinity has lost it, chooses alike.
 */
static __always_inline __u32 service_by_client(const struct service *service, __be32 client)
{
	__u32 hash = bpf_ntohl(client);

	return (__u64)service_mix(hash) * service->slot_count >> 32;
}

/* Position by all that names the connection, the same on all nodes. */
static __always_inline __u32 service_by_flow(const struct service *service,
					     const struct flow_key *key)
{
	__u32 hash = service_mix(bpf_ntohl(key->saddr));

	hash = service_mix(hash ^ (bpf_ntohs(key->sport) << 16 | bpf_ntohs(key->dport)));
	hash = service_mix(hash ^ bpf_ntohl(key->daddr));
	return (__u64)service_mix(hash ^ key->proto) * service->slot_count >> 32;
}

static __always_inline bool service_has(const struct service *service, __u32 id)
{
	const struct backend *backend = bpf_map_lookup_elem(&backends, &id);

	return backend && backend->service == service->id && !(backend->flags & BACKEND_RETIRED);
}

static __always_inline __u32 service_slot(const struct service *service, __u32 position)
{
	__u32 index = service->slot_offset + position;
	const __u32 *slot = bpf_map_lookup_elem(&slots, &index);

	return slot ? *slot : 0;
}

/* The backend that a client keeps, or keeps from now on. Another CPU may have seen the
 * client in the second that this one does not know of yet. What is found may become
 * another client's at any moment, of another service even: its backend is read once.
 */
static __always_inline __u32 service_kept(const struct service *service, __be32 client)
{
	struct affinity_key key = {.service = service->id, .client = client};
	struct affinity fresh = {.last = bpf_ktime_get_coarse_ns() / NSEC_PER_SEC};
	struct affinity *kept = bpf_map_lookup_elem(&affinity, &key);

	if (kept && (__s32)(fresh.last - kept->last) < (__s32)service->affinity) {
		__u32 backend = kept->backend;

		if (service_has(service, backend)) {
			kept->last = fresh.last;
			return backend;
		}
	}
	fresh.backend = service_slot(service, service_by_client(service, client));
	bpf_map_update_elem(&affinity, &key, &fresh, BPF_ANY);
	return fresh.backend;
}

/* The id of the backend that gets a client's new flow; 0: there is none. A function of
 * its own, so that its stack is not beside that of what makes the flow.
 */
static __noinline __u32 service_choose(const struct service *service, const struct flow_key *key)
{
	if (!service->slot_count)
		return 0;
	if (service->affinity)
		return service_kept(service, key->saddr);
	if (service->algorithm == ALGORITHM_HASH)
		return service_slot(service, service_by_flow(service, key));
	return service_slot(service, service_round_robin(service));
}

static __noinline bool service_admits(const struct service *service, __be32 client)
{
	struct source_key key = {.bits = 64, .service = service->id, .addr = client};

	return !(service->flags & SERVICE_SOURCES) || bpf_map_lookup_elem(&sources, &key);
}

#endif /* WEIR_LIB_SERVICE_H */
