package edgebreaker

import (
	"fmt"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
	"github.com/caddyedge/caddy-edge/internal/promreg"
)

// collectors are made once per process, so that counters keep their values over
// configuration reloads. No label holds anything that a client chooses: backends
// whose address comes from a placeholder count under the text of the config, and those
// of dynamic upstreams with placeholders together (member.go).
var collectors = sync.OnceValue(newMetricSet)

func newMetricSet() *metricSet {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "caddy_edge", Subsystem: "breaker", Name: name, Help: help}
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts(opts(name, help)), labels)
	}
	m := &metricSet{
		requests: counter("requests_total", "Responses of a backend by class of status.", "backend", "class"),
		errors:   counter("errors_total", "Attempts that brought no whole response, by backend and type.", "backend", "type"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "caddy_edge", Subsystem: "breaker", Name: "request_duration_seconds", Help: "Time from the end of the request to the header of the response.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"backend"}),
		transitions: counter("transitions_total", "Changes of a backend's state by the new one.", "backend", "to"),
		reinstated:  counter("reinstated_total", "Requests that were sent to an open backend, since max_ejection lets no more be out.", "backend"),
		refusals:    counter("refused_total", "Requests for which no backend could be asked, by reason.", "reason"),
		retriedVec:  counter("retries_total", "Retries by what became of them.", "result"),
	}
	for r := range reasons {
		if r != int(reasonNone) {
			m.refused[r] = m.refusals.WithLabelValues(reason(r).String())
		}
	}
	for e := range endings {
		m.retries[e] = m.retriedVec.WithLabelValues(ending(e).String())
	}
	return m
}

type metricSet struct {
	requests, errors, transitions, reinstated, refusals, retriedVec *prometheus.CounterVec
	duration                                                        *prometheus.HistogramVec

	refused [reasons]prometheus.Counter
	retries [endings]prometheus.Counter

	labels labels
}

func registerMetrics(ctx caddy.Context) error {
	m := collectors()
	if err := promreg.Register(ctx.GetMetricsRegistry(), m.requests, m.errors, m.duration, m.transitions, m.reinstated, m.refusals, m.retriedVec, stateCollector{}); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	return nil
}

func (c *counters) answered(status int) {
	if class := status / 100; class >= 1 && class < len(c.classes) {
		c.classes[class].Inc()
	}
}

func (c *counters) failed(f failure) {
	if f != failureNone {
		c.errors[f].Inc()
	}
}

// stateCollector tells the states at the moment of a scrape.
type stateCollector struct{}

var (
	describeActive = prometheus.NewDesc("caddy_edge_breaker_in_flight", "Requests that a backend works on.", []string{"backend"}, nil)
	describeState  = prometheus.NewDesc("caddy_edge_breaker_state", "1 for the state that a backend is in, 0 for the others.", []string{"backend", "state"}, nil)
)

// Describe implements prometheus.Collector.
func (stateCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- describeActive
	ch <- describeState
}

// Collect implements prometheus.Collector. Backends whose address a client may choose
// are left out, as they have no label of their own. So are
// those that no running config has any more: nobody would ever close them.
func (stateCollector) Collect(ch chan<- prometheus.Metric) {
	now, in := time.Now(), backendsInUse()
	eachBackend(func(b *breaker.Backend) {
		if countersIfAny(b.Address()) == nil {
			return
		}
		s := b.Status(now)
		if !in.gauged(s) {
			return
		}
		ch <- prometheus.MustNewConstMetric(describeActive, prometheus.GaugeValue, float64(s.Active), s.Address)
		for _, state := range []breaker.State{breaker.Closed, breaker.Open, breaker.HalfOpen} {
			is := 0.0
			if s.State == state {
				is = 1
			}
			ch <- prometheus.MustNewConstMetric(describeState, prometheus.GaugeValue, is, s.Address, state.String())
		}
	})
}

// eachBackend calls f for the backends of the process.
func eachBackend(f func(*breaker.Backend)) {
	all, ok := registries.Peek(registryKey)
	if !ok {
		return
	}
	all.Range(func(b *breaker.Backend) bool {
		f(b)
		return true
	})
}
