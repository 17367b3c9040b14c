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

/* The backend that gets the next flow and its id; NULL: there is none. */
static __always_inline const struct backend *service_choose(const struct service *service,
							    __u32 *id)
{
	const struct backend *backend;
	const __u32 *slot;
	__u32 index;

	if (!service->slot_count)
		return NULL;
	index = service->slot_offset + service_round_robin(service);
	slot = bpf_map_lookup_elem(&slots, &index);
	if (!slot || !*slot)
		return NULL;
	*id = *slot;
	backend = bpf_map_lookup_elem(&backends, id);
	return backend && backend->addr && backend->port ? backend : NULL;
}

#endif /* WEIR_LIB_SERVICE_H */
