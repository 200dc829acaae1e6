package edgelimit

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddyedge/caddy-edge/edgelimit/adaptive"
	"github.com/caddyedge/caddy-edge/internal/promreg"
)

func registerAdaptiveMetrics(ctx caddy.Context) error {
	if err := promreg.Register(ctx.GetMetricsRegistry(), adaptiveCollector{}); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	return nil
}

// adaptiveCollector tells the state of the adaptive limits at each scrape.
type adaptiveCollector struct{}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("caddy_edge_adaptive_"+name, help, append([]string{"name"}, labels...), nil)
}

var (
	descLimit    = describe("limit", "Requests that may be in flight; in mode rate, per second.")
	descState    = describe("state", "1 for the state that the limit is in, 0 for the others.", "state")
	descLatency  = describe("latency_seconds", "Latency of the origin in the last window.", "quantile")
	descTarget   = describe("target_seconds", "The P95 that the limit aims at.")
	descHeld     = describe("held", "Requests by what they hold: a slot of the limit, or a place among uploads, streams or in the queue.", "place")
	descActive   = describe("active_clients", "Clients seen lately, an estimate.")
	descAdmitted = describe("admitted_total", "Requests admitted.")
	descRefused  = describe("refused_total", "Requests refused by reason.", "reason")
)

// Describe implements prometheus.Collector.
func (adaptiveCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descLimit, descState, descLatency, descTarget, descHeld, descActive, descAdmitted, descRefused} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (adaptiveCollector) Collect(ch chan<- prometheus.Metric) {
	now := time.Now()
	var all []*control
	controls.Range(func(_ string, c *control) bool {
		all = append(all, c)
		return true
	})
	// One name may have both modes while a reload is under way.
	seen := map[string]bool{}
	for _, c := range all {
		if !seen[c.name] {
			seen[c.name] = true
			c.collect(ch, now)
		}
	}
}

func (c *control) collect(ch chan<- prometheus.Metric, now time.Time) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{c.name}, labels...)...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), append([]string{c.name}, labels...)...)
	}
	s := c.status(now)
	gauge(descLimit, s.Limit)
	for _, name := range s.states {
		is := 0.0
		if name == s.State {
			is = 1
		}
		gauge(descState, is, name)
	}
	gauge(descLatency, s.P50/1000, "0.5")
	gauge(descLatency, s.P95/1000, "0.95")
	gauge(descLatency, s.P99/1000, "0.99")
	gauge(descTarget, s.Target/1000)
	gauge(descHeld, float64(s.InFlight), "slot")
	gauge(descHeld, float64(s.Uploads), "upload")
	gauge(descHeld, float64(s.Streams), "stream")
	gauge(descHeld, float64(s.Queued), "queue")
	gauge(descActive, float64(s.Clients))
	counter(descAdmitted, s.Admitted)
	for reason, n := range s.Refused {
		counter(descRefused, n, reason)
	}
}

// adaptiveReply is the state of an adaptive limit.
type adaptiveReply struct {
	Name     string            `json:"name"`
	Mode     string            `json:"mode"`
	State    string            `json:"state"`
	Limit    float64           `json:"limit"`
	Target   float64           `json:"target_ms"`
	Baseline float64           `json:"baseline_ms,omitempty"`
	P50      float64           `json:"p50_ms"`
	P95      float64           `json:"p95_ms"`
	P99      float64           `json:"p99_ms"`
	InFlight int               `json:"in_flight"`
	Uploads  int               `json:"uploads"`
	Streams  int               `json:"streams"`
	Queued   int               `json:"queued"`
	Clients  int               `json:"active_clients"`
	Admitted uint64            `json:"admitted"`
	Refused  map[string]uint64 `json:"refused"`

	states []string
}

var (
	inflightStates = []string{
		adaptive.StateNormal.String(), adaptive.StateReducing.String(), adaptive.StateShedding.String(), adaptive.StateRecovering.String(),
	}
	rateStates = []string{adaptive.RateNormal.String(), adaptive.RateReducing.String(), adaptive.RateRecovering.String()}
)

func (c *control) status(now time.Time) adaptiveReply {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	latency := func(r *adaptiveReply, p adaptive.Percentiles) { r.P50, r.P95, r.P99 = ms(p.P50), ms(p.P95), ms(p.P99) }
	if c.loop != nil {
		s := c.loop.Status(now)
		r := adaptiveReply{
			Name: c.name, Mode: ModeRate, State: s.State.String(), Limit: s.Rate, Target: ms(s.Threshold),
			Admitted: c.admittedByRate.Load(), Refused: map[string]uint64{"rate": c.refusedByRate.Load()}, states: rateStates,
		}
		latency(&r, s.Latency)
		return r
	}
	s := c.limiter.Status(now)
	r := adaptiveReply{
		Name: c.name, Mode: ModeInflight, State: s.State.String(), Limit: float64(s.Limit), Target: ms(s.Target), Baseline: ms(s.Baseline),
		InFlight: s.InFlight, Uploads: s.Uploads, Streams: s.Streams, Queued: s.Queued, Clients: s.ActiveClients,
		Admitted: s.Admitted, Refused: make(map[string]uint64), states: inflightStates,
	}
	latency(&r, s.Latency)
	for reason, n := range s.Refused {
		if name := adaptive.Reason(reason); name != adaptive.Admitted {
			r.Refused[name.String()] = n
		}
	}
	return r
}
