package edgewaf

import (
	"fmt"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddyedge/caddy-edge/internal/promreg"
)

// outcome is what became of a request.
type outcome uint8

const (
	outcomePassed  outcome = iota // nothing spoke against it
	outcomeLogged                 // a rule found something, but not enough to block
	outcomeShadow                 // it would have been blocked
	outcomeBlocked                // it was refused
	outcomeLimited                // it was over the limit of a zone
	outcomeAllowed                // a rule let it pass
	outcomeSkipped                // an exception took it out
	outcomeBudget                 // it would have been too much work
	outcomeTooLong                // its content was too long
	outcomeFailed                 // the engine failed
	outcomes
)

var outcomeNames = [outcomes]string{"passed", "logged", "shadow", "blocked", "limited", "allowed", "skipped", "over_budget", "too_long", "failed"}

// String returns the name in metrics and replies.
func (o outcome) String() string { return outcomeNames[o] }

// The collectors are made once per process, so that counters keep their values over
// configuration reloads.
var (
	wafRequests = sync.OnceValue(func() *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "caddy_edge", Subsystem: "waf", Name: "requests_total", Help: "Requests that the firewall looked at, by what became of them.",
		}, []string{"outcome"})
	})
	wafDecisions = sync.OnceValue(func() *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "caddy_edge", Subsystem: "waf", Name: "decisions_total", Help: "Rules that found something, by rule and by what was done about the request.",
		}, []string{"rule_id", "action"})
	})
	wafDuration = sync.OnceValue(func() prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "caddy_edge", Subsystem: "waf", Name: "duration_seconds", Help: "How long the rules took for a request, without reading its content.",
			Buckets: []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1},
		})
	})
	wafScore = sync.OnceValue(func() prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "caddy_edge", Subsystem: "waf", Name: "score", Help: "Inbound anomaly scores of requests.",
			Buckets: []float64{0, 2, 3, 4, 5, 10, 15, 20, 30, 50, 100},
		})
	})
	wafCut = sync.OnceValue(func() prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "caddy_edge", Subsystem: "waf", Name: "bodies_cut_total", Help: "Requests of whose content only the beginning was looked at.",
		})
	})
	wafDropped = sync.OnceValue(func() prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "caddy_edge", Subsystem: "waf", Name: "events_unlogged_total", Help: "Events that did not go to the log since there were too many.",
		})
	})
)

// wafCounters are the counters of outcomes, resolved once.
var wafCounters = sync.OnceValue(func() *[outcomes]prometheus.Counter {
	all := new([outcomes]prometheus.Counter)
	for o := range all {
		all[o] = wafRequests().WithLabelValues(outcome(o).String())
	}
	return all
})

func registerWafMetrics(ctx caddy.Context) error {
	wafCounters()
	for why := range failures { // so that there is something to see from the start
		wafDecisions().WithLabelValues(why, actBlock)
	}
	err := promreg.Register(ctx.GetMetricsRegistry(), wafRequests(), wafDecisions(), wafDuration(), wafScore(), wafCut(), wafDropped(), engineCollector{})
	if err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	return nil
}

// engineCollector tells of the compiled rule sets at the moment of a scrape.
type engineCollector struct{}

var (
	describeEngines     = prometheus.NewDesc("caddy_edge_waf_rule_sets", "Compiled rule sets in memory.", nil, nil)
	describeEngineRules = prometheus.NewDesc("caddy_edge_waf_rules", "Rules in all compiled rule sets.", nil, nil)
	describeEngineBytes = prometheus.NewDesc("caddy_edge_waf_rule_set_bytes", "By how much the heap had grown when the rule sets were compiled.", nil, nil)
)

// Describe implements prometheus.Collector.
func (engineCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- describeEngines
	ch <- describeEngineRules
	ch <- describeEngineBytes
}

// Collect implements prometheus.Collector.
func (engineCollector) Collect(ch chan<- prometheus.Metric) {
	var sets, rules, bytes float64
	engines.Range(func(_ string, e *rulesEngine) bool {
		s := e.Stats()
		sets, rules, bytes = sets+1, rules+float64(s.Rules), bytes+float64(s.Bytes)
		return true
	})
	ch <- prometheus.MustNewConstMetric(describeEngines, prometheus.GaugeValue, sets)
	ch <- prometheus.MustNewConstMetric(describeEngineRules, prometheus.GaugeValue, rules)
	ch <- prometheus.MustNewConstMetric(describeEngineBytes, prometheus.GaugeValue, bytes)
}
