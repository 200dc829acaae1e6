package edgetunnel

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddyedge/caddy-edge/edgetunnel/hub"
	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
	"github.com/caddyedge/caddy-edge/internal/promreg"
)

// collectors are made once per process, so that counters keep their values over
// configuration reloads. Backends are bounded by what tokens allow, and agents only have
// values while they are connected.
var collectors = sync.OnceValue(newMetricSet)

func newMetricSet() *metricSet {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "caddy_edge", Subsystem: "tunnel", Name: name, Help: help}, labels)
	}
	m := &metricSet{
		responses: counter("responses_total", "Responses through the tunnel by backend and class of status.", "backend", "class"),
		notTaken:  counter("not_taken_total", "Requests that an agent did not take, by backend and status.", "backend", "status"),
		failures:  counter("failures_total", "Requests that an agent may have taken and that got no response, by backend and reason.", "backend", "reason"),
		sessions:  counter("sessions_total", "Agents that connected, and that left by reason.", "event"),
		refusals:  counter("refused_agents_total", "Agents that were not let in, by reason.", "reason"),
		absentVec: counter("absent_total", "Requests for which there was no agent."),
	}
	m.absent = m.absentVec.WithLabelValues()
	for _, reason := range refusalReasons {
		m.refusals.WithLabelValues(reason)
	}
	for _, event := range []hub.Reason{eventOfConnection, hub.Lost, hub.Drained, hub.Revoked, hub.Replaced} {
		m.sessions.WithLabelValues(string(event))
	}
	return m
}

// eventOfConnection counts agents that connect, beside the reasons why they leave.
const eventOfConnection hub.Reason = "connected"

// otherBackend is the label of those that no token names, whose number nothing bounds.
const otherBackend = "other"

// label is that of a backend.
func (m *metricSet) label(backend string) string {
	if _, named := m.named.Load(backend); named {
		return backend
	}
	return otherBackend
}

// name makes the series of a backend, so that they are there before the first request.
func (m *metricSet) name(backend string) {
	m.named.Store(backend, true)
	for _, class := range classes[2:] {
		m.responses.WithLabelValues(backend, class)
	}
	for s := wire.Refused; s.Valid(); s++ {
		m.notTaken.WithLabelValues(backend, s.String())
	}
	for _, reason := range []string{failureCanceled, failureTimeout, failureLost} {
		m.failures.WithLabelValues(backend, reason)
	}
}

type metricSet struct {
	responses, notTaken, failures, sessions, refusals, absentVec *prometheus.CounterVec

	absent prometheus.Counter
	named  sync.Map // backends that tokens have named
}

func registerMetrics(ctx caddy.Context) error {
	m := collectors()
	err := promreg.Register(ctx.GetMetricsRegistry(), m.responses, m.notTaken, m.failures, m.sessions, m.refusals, m.absentVec, agentCollector{})
	if err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	return nil
}

// classes are the classes of status as labels.
var classes = [...]string{"", "1xx", "2xx", "3xx", "4xx", "5xx"}

func classOf(status int) string {
	if c := status / 100; c >= 1 && c < len(classes) {
		return classes[c]
	}
	return "other"
}

// Kinds of failures.
const (
	failureCanceled = "canceled"
	failureTimeout  = "timeout"
	failureLost     = "lost"
)

// failureOf names a failure for the metric.
func failureOf(err error) string {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, context.Canceled):
		return failureCanceled
	case errors.As(err, &timeout) && timeout.Timeout():
		return failureTimeout
	default:
		return failureLost
	}
}

// agentCollector tells of the agents at the moment of a scrape.
type agentCollector struct{}

var (
	describeAgents   = prometheus.NewDesc("caddy_edge_tunnel_agents", "Agents that take requests for a backend.", []string{"backend"}, nil)
	describeActive   = prometheus.NewDesc("caddy_edge_tunnel_in_flight", "Requests under way by agent and backend.", []string{"agent", "backend"}, nil)
	describeRequests = prometheus.NewDesc("caddy_edge_tunnel_agent_requests_total", "Requests since the agent connected, by agent and backend.", []string{"agent", "backend"}, nil)
	describeHealthy  = prometheus.NewDesc("caddy_edge_tunnel_healthy", "1 when the agent finds its backend healthy, by agent and backend.", []string{"agent", "backend"}, nil)
	describeRTT      = prometheus.NewDesc("caddy_edge_tunnel_rtt_seconds", "Time of the last ping to the agent.", []string{"agent"}, nil)
	describeBytes    = prometheus.NewDesc("caddy_edge_tunnel_bytes_total", "Bytes over the connections that an agent has, by agent and direction.", []string{"agent", "direction"}, nil)
	describeHeld     = prometheus.NewDesc("caddy_edge_tunnel_window_bytes", "Memory promised to the streams of an agent.", []string{"agent"}, nil)
)

// Describe implements prometheus.Collector.
func (agentCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{describeAgents, describeActive, describeRequests, describeHealthy, describeRTT, describeBytes, describeHeld} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (agentCollector) Collect(ch chan<- prometheus.Metric) {
	r, ok := registries.Peek(registryKey)
	if !ok {
		return
	}
	h := r.hub
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	total := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	serving := r.named()
	for _, a := range h.All() {
		gauge(describeRTT, a.RTT().Seconds(), a.Name)
		gauge(describeHeld, float64(a.Held()), a.Name)
		in, out := a.Bytes()
		total(describeBytes, float64(in), a.Name, "in")
		total(describeBytes, float64(out), a.Name, "out")
		for _, b := range a.Backends() {
			gauge(describeActive, float64(b.Active.Load()), a.Name, b.Name)
			total(describeRequests, float64(b.Requests.Load()), a.Name, b.Name)
			healthy := 1.0
			if b.Unhealthy {
				healthy = 0
			}
			gauge(describeHealthy, healthy, a.Name, b.Name)
			if h.Route(a.Address(b.Name)) != nil {
				serving[b.Name]++
			}
		}
	}
	for name, n := range serving {
		gauge(describeAgents, float64(n), name)
	}
}
