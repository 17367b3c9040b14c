/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What can become of a packet. Each packet counts COUNTER_IN and exactly one of
 * the others in the row of its hook: in = forwarded + passed + dropped(reason).
 * COUNTER_ANSWERED stands beside that sum: so many of the dropped packets were
 * answered by a packet of ours.
 * Go reads the names from BTF, so this is the only list.
 */
#ifndef WEIR_LIB_COUNTERS_H
#define WEIR_LIB_COUNTERS_H

#include "lib/maps.h"

enum hook {
	HOOK_XDP = 0,
	HOOK_TC = 1, /* ingress */
	HOOK_EGRESS = 2,
	HOOK_END,
};

enum counter {
	COUNTER_IN = 0,
	COUNTER_FORWARDED, /* rewritten and sent or handed to the kernel, or answered */
	COUNTER_PASSED,	   /* untouched: to TC after XDP, to the kernel after TC */
	DROP_NO_SERVICE,   /* first packet to a port of a VIP that no service has */
	DROP_NO_BACKEND,   /* the service has no backend now */
	DROP_NO_FLOW,	   /* to a VIP, neither of a flow nor a first packet */
	DROP_NO_PORT,	   /* no free source port found within the tries */
	DROP_NO_SOURCE,	   /* onearm, and the backend has no source address */
	DROP_FLOWS_FULL,   /* no room in flows */
	DROP_CONTENDED,	   /* another CPU is replacing this very flow; the sender repeats */
	DROP_FRAGMENT,	   /* a fragment to a VIP or of a flow */
	DROP_MALFORMED,	   /* a header that is cut short or lies about lengths */
	DROP_SPOOFED,	   /* the source is a VIP or no unicast address */
	DROP_PROTOCOL,	   /* to a VIP, and none of TCP, UDP, SCTP, ICMP echo */
	DROP_TTL_EXCEEDED, /* TTL would become 0 */
	DROP_MTU_EXCEEDED, /* longer than the next hop's MTU */
	DROP_NO_ROUTE,	   /* no route, or the destination is local */
	DROP_BLACKHOLE,	   /* route of type blackhole */
	DROP_UNREACHABLE,  /* route of type unreachable */
	DROP_PROHIBITED,   /* route of type prohibit */
	DROP_FWD_DISABLED, /* the interface the packet came from does not forward */
	DROP_ROUTE_ENCAP,  /* the route has a lightweight tunnel */
	DROP_SOURCE_RANGE, /* the service does not let the client in */
	DROP_LIMITED,	   /* an echo request over the limit of answers (lib/limit.h) */
	DROP_INTERNAL,	   /* a map or helper failed in a way that cannot be */
	COUNTER_ANSWERED,  /* of the dropped: answered by RST, ABORT or an ICMP error */
	COUNTER_END,
};

_Static_assert(HOOK_END <= MAX_HOOKS, "the map has MAX_HOOKS rows");
_Static_assert(COUNTER_END <= MAX_COUNTERS, "each hook has MAX_COUNTERS counters");

/* No other CPU writes this element, and nothing that counts interrupts us. */
static __always_inline void count(enum hook hook, enum counter counter)
{
	__u32 index = hook * MAX_COUNTERS + counter;
	__u64 *packets = bpf_map_lookup_elem(&counters, &index);

	if (packets)
		*packets += 1;
}

#endif /* WEIR_LIB_COUNTERS_H */
