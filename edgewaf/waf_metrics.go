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

// wafCollectors are made once per process, so that counters keep their values over
// configuration reloads. Each has the label firewall, whose values are names in configs: what
// there is of a firewall goes when no config has it any more.
type wafCollectors struct {
	requests, decisions, cut, dropped *prometheus.CounterVec
	duration, score                   *prometheus.HistogramVec
}

var wafMetrics = sync.OnceValue(func() *wafCollectors {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "caddy_edge", Subsystem: "waf", Name: name, Help: help}, append([]string{labelFirewall}, labels...))
	}
	histogram := func(name, help string, buckets ...float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "caddy_edge", Subsystem: "waf", Name: name, Help: help, Buckets: buckets}, []string{labelFirewall})
	}
	return &wafCollectors{
		requests:  counter("requests_total", "Requests that the firewall looked at, by what became of them.", "outcome"),
		decisions: counter("decisions_total", "Rules that found something, by rule and by what was done about the request.", "rule_id", "action"),
		cut:       counter("bodies_cut_total", "Requests of whose content only the beginning was looked at."),
		dropped:   counter("events_unlogged_total", "Events that did not go to the log since there were too many."),
		duration: histogram("duration_seconds", "How long the rules took for a request, without reading its content.",
			.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1),
		score: histogram("score", "Inbound anomaly scores of requests.", 0, 2, 3, 4, 5, 10, 15, 20, 30, 50, 100),
	}
})

const labelFirewall = "firewall"

// firewallMetrics are those of one firewall, resolved once.
type firewallMetrics struct {
	requests        [outcomes]prometheus.Counter
	decisions       *prometheus.CounterVec // by rule_id and action
	duration, score prometheus.Observer
	cut, dropped    prometheus.Counter
}

func newFirewallMetrics(name string) *firewallMetrics {
	c := wafMetrics()
	m := &firewallMetrics{
		decisions: c.decisions.MustCurryWith(prometheus.Labels{labelFirewall: name}),
		duration:  c.duration.WithLabelValues(name), score: c.score.WithLabelValues(name),
		cut: c.cut.WithLabelValues(name), dropped: c.dropped.WithLabelValues(name),
	}
	for o := range m.requests {
		m.requests[o] = c.requests.WithLabelValues(name, outcome(o).String())
	}
	for why := range failures { // so that there is something to see from the start
		m.decisions.WithLabelValues(why, actBlock)
	}
	return m
}

// forgetFirewall takes away what there is of a firewall.
func forgetFirewall(name string) {
	of, c := prometheus.Labels{labelFirewall: name}, wafMetrics()
	for _, v := range []*prometheus.CounterVec{c.requests, c.decisions, c.cut, c.dropped} {
		v.DeletePartialMatch(of)
	}
	c.duration.DeletePartialMatch(of)
	c.score.DeletePartialMatch(of)
}

func registerWafMetrics(ctx caddy.Context) error {
	c := wafMetrics()
	err := promreg.Register(ctx.GetMetricsRegistry(), c.requests, c.decisions, c.duration, c.score, c.cut, c.dropped, engineCollector{})
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
