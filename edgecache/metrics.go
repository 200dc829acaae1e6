package edgecache

import (
	"fmt"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddyedge/caddy-edge/internal/promreg"
)

// collectors are made once per process, so that counters keep their values over
// configuration reloads.
var collectors = sync.OnceValue(func() *metricSet {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "caddy_edge", Subsystem: "cache", Name: name, Help: help}
	}
	read := func(of func(s *shared) float64) func() float64 {
		return func() float64 {
			if s, ok := pool.Peek(sharedKey); ok {
				return of(s)
			}
			return 0
		}
	}
	gauge := func(name, help string, of func(s *shared) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts(name, help)), read(of))
	}
	m := &metricSet{
		requests:  prometheus.NewCounterVec(prometheus.CounterOpts(opts("requests_total", "Requests by what the cache did with them.")), []string{"result"}),
		reasons:   prometheus.NewCounterVec(prometheus.CounterOpts(opts("reasons_total", "Decisions by their reason.")), []string{"reason"}),
		collapsed: prometheus.NewCounter(prometheus.CounterOpts(opts("collapsed_total", "Requests that used the fetch of another request."))),
		stores:    prometheus.NewCounter(prometheus.CounterOpts(opts("stores_total", "Responses stored."))),
		full:      prometheus.NewCounter(prometheus.CounterOpts(opts("store_full_total", "Responses not stored for lack of memory."))),
		purges:    prometheus.NewCounter(prometheus.CounterOpts(opts("purges_total", "Purges, by operators and by unsafe requests."))),
	}
	m.gauges = []prometheus.Collector{
		gauge("entries", "Stored responses.", func(s *shared) float64 { return float64(s.memory.Stats().Entries) }),
		gauge("bytes", "Bytes that the stored responses take.", func(s *shared) float64 { return float64(s.memory.Stats().Bytes) }),
		gauge("reserved_bytes", "Bytes that responses on their way take.", func(s *shared) float64 { return float64(s.memory.Stats().Reserved) }),
		gauge("budget_bytes", "Bytes that the cache may take.", func(s *shared) float64 { return float64(s.memory.Stats().Budget) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts(opts("evictions_total", "Responses evicted to make room.")), read(func(s *shared) float64 { return float64(s.memory.Stats().Evictions) })),
		gauge("purges_outstanding", "Purges whose responses may still take memory.", func(s *shared) float64 { return float64(s.purges.Outstanding()) }),
	}
	return m
})

type metricSet struct {
	requests, reasons               *prometheus.CounterVec
	collapsed, stores, full, purges prometheus.Counter
	gauges                          []prometheus.Collector
}

// recorder counts; the counters are resolved once.
type recorder struct {
	set     *metricSet
	results [results]prometheus.Counter
	reasons [reasonsEnd]prometheus.Counter // nil for what is no reason
}

func newRecorder(ctx caddy.Context) (*recorder, error) {
	m := collectors()
	all := append([]prometheus.Collector{m.requests, m.reasons, m.collapsed, m.stores, m.full, m.purges}, m.gauges...)
	if err := promreg.Register(ctx.GetMetricsRegistry(), all...); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	r := &recorder{set: m}
	for i := range r.results {
		r.results[i] = m.requests.WithLabelValues(Result(i).String())
	}
	for _, why := range reasons() {
		r.reasons[why] = m.reasons.WithLabelValues(why.String())
	}
	return r, nil
}

func (r *recorder) count(s status) {
	r.results[s.result].Inc()
	for _, why := range [...]reason{s.reuse, s.reason} {
		if c := r.reasons[why]; c != nil {
			c.Inc()
		}
	}
	if s.collapsed {
		r.set.collapsed.Inc()
	}
}

func (r *recorder) stored()      { r.set.stores.Inc() }
func (r *recorder) rejected()    { r.set.full.Inc() }
func (r *recorder) purged(n int) { r.set.purges.Add(float64(n)) }
