// Package dataplane forwards packets for service addresses in the kernel:
// Apply says what to serve, Run keeps it true.
//
// What is desired becomes a plan (package plan, pure), whose steps write the
// BPF maps (apply, maps). Package hook attaches the programs that loader has
// loaded, nexthop keeps the way to the backends open, flow sweeps idle
// connections and tells which ids are still in use, which the next plan needs;
// health probes the backends of services that ask for it.
//
//	Apply ──▶ plan ──▶ apply ──▶ maps ◀── programs ◀── hook ◀── loader
//	            ▲                  │
//	   nexthop ─┼── flow ◀─────────┘
//	   health ──┘
package dataplane
