package edgelimit

import (
	"fmt"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddyedge/caddy-edge/internal/promreg"
)

// collectors are made once per process, so that counters keep their values over
// configuration reloads. No label holds anything that a client chooses.
var collectors = sync.OnceValue(func() *metricSet {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "caddy_edge", Subsystem: "limit", Name: name, Help: help}
	}
	return &metricSet{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts(opts("decisions_total", "Requests by zone and by what the zone decided.")), []string{"zone", "decision"}),
		refusals:  prometheus.NewCounterVec(prometheus.CounterOpts(opts("refusals_total", "Requests beyond the limit by zone and by which limit it was.")), []string{"zone", "reason"}),
		states:    stateCollector{},
	}
})

type metricSet struct {
	decisions, refusals *prometheus.CounterVec
	states              stateCollector
}

func registerMetrics(ctx caddy.Context) error {
	m := collectors()
	if err := promreg.Register(ctx.GetMetricsRegistry(), m.decisions, m.refusals, m.states); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	return nil
}

// zoneCounters are the counters of a zone, resolved once.
type zoneCounters struct {
	allowed, denied, shadow prometheus.Counter
	reasons                 [reasons]prometheus.Counter
}

func newZoneCounters(zone string) (c zoneCounters) {
	m := collectors()
	c.allowed = m.decisions.WithLabelValues(zone, "allow")
	c.denied = m.decisions.WithLabelValues(zone, "deny")
	c.shadow = m.decisions.WithLabelValues(zone, "shadow")
	for i := range c.reasons {
		c.reasons[i] = m.refusals.WithLabelValues(zone, reason(i).String())
	}
	return c
}

// stateCollector tells what the zones hold at the moment of a scrape.
type stateCollector struct{}

var (
	describeEvictions   = prometheus.NewDesc("caddy_edge_limit_evictions_total", "Clients forgotten while they still had used some of their limit.", []string{"zone"}, nil)
	describeConcurrency = prometheus.NewDesc("caddy_edge_limit_in_flight", "Requests that count for a limit of concurrency.", []string{"zone"}, nil)
	describeClients     = prometheus.NewDesc("caddy_edge_limit_in_flight_keys", "Clients with requests that count for a limit of concurrency.", []string{"zone"}, nil)
)

var (
	describeConnected = prometheus.NewDesc("caddy_edge_limit_cluster_connected", "Redis servers that are reached, of those that limits are shared through.", nil, nil)
	describeNodes     = prometheus.NewDesc("caddy_edge_limit_cluster_nodes", "Nodes that share their limits, this one included.", nil, nil)
	describeTokens    = prometheus.NewDesc("caddy_edge_limit_cluster_leased_tokens", "Requests that this node may still grant on its leases.", nil, nil)
	describeErrors    = prometheus.NewDesc("caddy_edge_limit_cluster_errors_total", "Exchanges with Redis that failed.", nil, nil)
	describeRoundTrip = prometheus.NewDesc("caddy_edge_limit_cluster_round_trip_seconds", "Duration of the last exchange with Redis.", nil, nil)
)

// Describe implements prometheus.Collector.
func (stateCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- describeEvictions
	ch <- describeConcurrency
	ch <- describeClients
	ch <- describeConnected
	ch <- describeNodes
	ch <- describeTokens
	ch <- describeErrors
	ch <- describeRoundTrip
}

// Collect implements prometheus.Collector.
func (stateCollector) Collect(ch chan<- prometheus.Metric) {
	pool.Range(func(_ string, s *state) bool {
		keys, entered := s.inflight.Totals()
		var evicted uint64
		if t := s.table(); t != nil {
			evicted = t.Evicted()
		}
		ch <- prometheus.MustNewConstMetric(describeEvictions, prometheus.CounterValue, float64(evicted), s.name)
		ch <- prometheus.MustNewConstMetric(describeConcurrency, prometheus.GaugeValue, float64(entered), s.name)
		ch <- prometheus.MustNewConstMetric(describeClients, prometheus.GaugeValue, float64(keys), s.name)
		return true
	})
	collectCluster(ch)
}

// collectCluster adds up what there is to tell of the clusters; most often there
// is one at most.
func collectCluster(ch chan<- prometheus.Metric) {
	var connected, members, tokens, failed int64
	var trip time.Duration
	all := joined()
	for _, n := range all {
		s := n.Stats()
		if s.Connected {
			connected++
		}
		members = max(members, int64(s.Nodes))
		tokens += s.Tokens
		failed += s.Errors
		trip = max(trip, s.RoundTrip)
	}
	if len(all) == 0 {
		return
	}
	gauge := func(d *prometheus.Desc, v float64) { ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	gauge(describeConnected, float64(connected))
	gauge(describeNodes, float64(members))
	gauge(describeTokens, float64(tokens))
	gauge(describeRoundTrip, trip.Seconds())
	ch <- prometheus.MustNewConstMetric(describeErrors, prometheus.CounterValue, float64(failed))
}
