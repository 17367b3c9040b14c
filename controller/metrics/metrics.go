// Package metrics shows the controller to Prometheus: addresses, services, and
// how far the nodes are. No label holds what a client of a service chose.
package metrics

import (
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Source is the controller, read once a scrape.
type Source interface{ Status() v1.ControllerStatus }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("kube_weir_"+name, help, labels, nil)
}

var (
	buildInfo  = desc("build_info", "Always 1; the labels say which program this is.", "version", "go_version")
	services   = desc("services", "Services of the controller's classes: served, or waiting for what a condition names.", "state")
	programmed = desc("services_programmed", "Services with an address, by whether every load balancer node serves them as far as it says.", "status")
	addresses  = desc("pool_addresses", "Addresses of the pool by family: used by a service, or free.", "pool", "family", "state")
	nodes      = desc("nodes", "Nodes that run weir, by role and by how far their state has come.", "role", "state")
	generation = desc("generation", "Sequence of the newest state that was decided for a node.")
	lastPush   = desc("node_last_push_timestamp_seconds", "When the node last accepted a state.", "node")
	problems   = desc("problems", "What a person has to mend that is of no service and no node.", "reason")
)

// Registry holds all metrics of a controller, and those of its process.
func Registry(s Source, p *Pushes) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collector{s}, p.duration, p.failures,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return r
}

// Handler serves a registry in Prometheus' text format.
func Handler(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

type collector struct{ source Source }

// Describe lists what Collect may send.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{buildInfo, services, programmed, addresses, nodes, generation, lastPush, problems} {
		ch <- d
	}
}

// Collect sends all metrics of this moment.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	s := c.source.Status()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(buildInfo, 1, s.Version, runtime.Version())
	states := map[string]int{"served": 0, "waiting": 0}
	for _, svc := range s.Services {
		states[stateOf(svc)]++
	}
	for state, n := range states {
		gauge(services, float64(n), state)
	}
	statuses := map[string]int{"true": 0, "false": 0, "unknown": 0}
	for _, svc := range s.Services {
		for _, c := range svc.Conditions {
			if c.Type == v1.ConditionProgrammed {
				statuses[c.StatusText()]++
			}
		}
	}
	for status, n := range statuses {
		gauge(programmed, float64(n), status)
	}
	for _, p := range s.Pools {
		gauge(addresses, float64(p.Used), p.Name, p.Family, "used")
		gauge(addresses, float64(p.Size-int64(p.Used)), p.Name, p.Family, "free")
	}
	collectNodes(s.Nodes, gauge)
	reasons := map[string]int{}
	for _, p := range s.Problems {
		reasons[p.Reason]++
	}
	for reason, n := range reasons {
		gauge(problems, float64(n), reason)
	}
}

// stateOf is served where clients are answered: over IPv4 alone is enough.
func stateOf(s v1.ControllerService) string {
	for _, c := range s.Conditions {
		aside := c.Type == v1.ConditionIPv6Served && len(s.ExternalIPs) > 0
		if !c.Status && !c.Unknown && !aside {
			return "waiting"
		}
	}
	return "served"
}

func collectNodes(all []v1.ControllerNode, gauge func(*prometheus.Desc, float64, ...string)) {
	type group struct{ role, state string }
	count := map[group]int{}
	var newest uint64
	for _, n := range all {
		count[group{n.Role, n.State}]++
		newest = max(newest, n.Desired.Sequence)
		if !n.LastPush.IsZero() {
			gauge(lastPush, float64(n.LastPush.UnixMilli())/1000, n.Name)
		}
	}
	for g, n := range count {
		gauge(nodes, float64(n), g.role, g.state)
	}
	gauge(generation, float64(newest))
}
