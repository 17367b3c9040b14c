// Package overlay knows the devices that carry packets inside others (VXLAN,
// IPIP, ...), which container networks put between nodes, and lets through them
// what comes back another way.
//
//	client -> LB node ==flannel.1==> worker -> pod    request, inside VXLAN
//	client <- LB node <-----eth1---- worker <- pod    answer, by the route to its destination
//
// The worker sees a source on flannel.1 that its routes place behind eth1. With
// strict reverse path filtering (rp_filter=1, RFC 3704) it drops the request
// without a word.
package overlay
