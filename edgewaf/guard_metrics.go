package edgewaf

import (
	"fmt"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddyedge/caddy-edge/internal/promreg"
)

// guardChecks is made once per process, so that counters keep their values over
// configuration reloads.
var guardChecks = sync.OnceValue(func() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy_edge", Subsystem: "guard", Name: "checks_total", Help: "Requests that a check found fault with, by check and by what was done.",
	}, []string{"check", "action"})
})

// guardCounters are the counters, resolved once.
var guardCounters = sync.OnceValue(func() *[checks][actions]prometheus.Counter {
	all := new([checks][actions]prometheus.Counter)
	for c := range all {
		for a := range all[c] {
			if action(a) == actionShadow || action(a) == checkTable[c].action {
				all[c][a] = guardChecks().WithLabelValues(check(c).String(), action(a).String())
			}
		}
	}
	return all
})

func registerGuardMetrics(ctx caddy.Context) error {
	guardCounters()
	if err := promreg.Register(ctx.GetMetricsRegistry(), guardChecks(), listCollector{}); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	return nil
}

// listCollector tells of the files at the moment of a scrape.
type listCollector struct{}

var (
	describeEntries = prometheus.NewDesc("caddy_edge_guard_list_entries", "Entries of a list file, or nodes of a database.", []string{"file"}, nil)
	describeFailing = prometheus.NewDesc("caddy_edge_guard_list_failing", "1 if the file as it is now could not be read, and what was read before is in force.", []string{"file"}, nil)
	describeLoaded  = prometheus.NewDesc("caddy_edge_guard_list_loaded_timestamp_seconds", "When the content in force was read.", []string{"file"}, nil)
)

// Describe implements prometheus.Collector.
func (listCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- describeEntries
	ch <- describeFailing
	ch <- describeLoaded
}

// Collect implements prometheus.Collector.
func (listCollector) Collect(ch chan<- prometheus.Metric) {
	seen := make(map[string]bool)
	for _, w := range watched() {
		if seen[w.path] { // as another kind, or looked at in another interval
			continue
		}
		seen[w.path] = true
		status, failing := w.status(), 0.0
		if status.Err != nil {
			failing = 1
		}
		ch <- prometheus.MustNewConstMetric(describeEntries, prometheus.GaugeValue, float64(w.entries()), w.path)
		ch <- prometheus.MustNewConstMetric(describeFailing, prometheus.GaugeValue, failing, w.path)
		ch <- prometheus.MustNewConstMetric(describeLoaded, prometheus.GaugeValue, float64(status.Loaded.UnixMilli())/1000, w.path)
	}
}
