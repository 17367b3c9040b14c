// Package metrics shows a node to Prometheus. Labels are what somebody
// configured or what the program itself names (services, owners, peers,
// interfaces, reasons), never what comes in with packets: a client cannot make
// series.
package metrics

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Source is the node that is shown.
type Source interface {
	Observed(context.Context) v1.ObservedState
	Counters(context.Context) (v1.Counters, error)
	Version() v1.Version
}

// scrapeTimeout bounds the reading of the node, below the 10 s that Prometheus
// waits by default.
const scrapeTimeout = 8 * time.Second

// maxScrapes is how many scrapes may read the node at a time: each walks over
// the flow table.
const maxScrapes = 2

// Registry returns the node's metrics and those of its process.
func Registry(node Source) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		&collector{node: node},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return r
}

// Handler answers scrapes of the registry, 503 where too many come at once.
func Handler(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout + time.Second})
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// The metrics, in the order in which a person looks.
var (
	buildInfo = desc("weir_build_info", "Always 1; the labels say which program this is.", "version", "go_version", "mode")

	packets = desc("weir_packets_total", "Packets that the programs saw, by what became of them.", "action")
	drops   = desc("weir_dropped_packets_total", "Packets that were dropped, by reason.", "reason")
	answers = desc("weir_answered_packets_total", "Dropped packets that were answered by RST, ABORT or an ICMP error.")

	services  = desc("weir_services", "Services that owners want: programmed, pending, or refused.", "state")
	flows     = desc("weir_flows", "Flow entries that name a backend of the service, two a connection.", "service", "frontend")
	backends  = desc("weir_service_backends", "Backends of the service: active, inactive (a probe failed), unreachable, or unserved (on this node, without --egr-hooks).", "service", "frontend", "state")
	backendUp = desc("weir_backend_up", "1 while the backend may get new flows, of services that ask for health probes.", "service", "frontend", "backend")

	flowEntries  = desc("weir_flow_table_entries", "Entries of established flows, two a connection, at the last sweep.")
	flowCapacity = desc("weir_flow_table_capacity", "Entries that the table of established flows has room for.")

	peerUp         = desc("weir_bgp_peer_up", "1 while the BGP session is established.", "peer", "asn", "role")
	routes         = desc("weir_bgp_installed_routes", "Learned routes that stand in the kernel.")
	advertisements = desc("weir_bgp_advertisements", "Prefixes that this node originates.")

	ownerLag = desc("weir_owner_generation_lag", "Generations of the owner's state that were accepted and are not in force, 0 when it is in sync.", "owner")
	hooks    = desc("weir_interface_hook", "Always 1; the label says where packets of the interface are taken: xdp, tc, or none.", "interface", "hook")
	problems = desc("weir_problems", "Conditions of the node as a whole that are not as they should be.", "type", "reason")
)
