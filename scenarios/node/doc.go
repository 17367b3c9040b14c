// Package node has what starts or ends on load balancer nodes (--egr-hooks): pods
// of the masters as backends and as clients, the masters as clients of a VIP that
// they hold or that the other one holds, at both hooks and in all modes, and what
// happens without the flag.
package node
