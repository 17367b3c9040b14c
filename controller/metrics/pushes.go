package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Pushes measures how states reach the nodes. It is safe for concurrent use.
type Pushes struct {
	duration *prometheus.HistogramVec
	failures *prometheus.CounterVec
}

// NewPushes returns one that measured nothing yet.
func NewPushes() *Pushes {
	return &Pushes{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kube_weir_push_duration_seconds",
			Help: "How long it took to bring a state to a node, failures among them.",
			// From a change of one service on the same link to 10 MB over a slow one.
			Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3, 10},
		}, []string{"node"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kube_weir_push_failures_total",
			Help: "Attempts to bring a state to a node that failed.",
		}, []string{"node"}),
	}
}

// Pushed notes an attempt.
func (p *Pushes) Pushed(node string, took time.Duration, err error) {
	p.duration.WithLabelValues(node).Observe(took.Seconds())
	failures := p.failures.WithLabelValues(node) // a series from the first attempt on
	if err != nil {
		failures.Inc()
	}
}
