package promreg_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/promreg"
)

func newCounter() prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: "requests_total", Help: "Requests."})
}

func value(t *testing.T, g prometheus.Gatherer) float64 {
	t.Helper()
	families, err := g.Gather()
	require.NoError(t, err)
	require.Len(t, families, 1)
	return families[0].GetMetric()[0].GetCounter().GetValue()
}

func TestCounterSurvivesRegistries(t *testing.T) {
	counter := newCounter()
	first, second := prometheus.NewRegistry(), prometheus.NewRegistry()

	require.NoError(t, promreg.Register(first, counter))
	counter.Add(2)
	require.NoError(t, promreg.Register(second, counter))
	counter.Add(3)

	require.InDelta(t, 5, value(t, first), 0)
	require.InDelta(t, 5, value(t, second), 0)
}

func TestSameCollectorTwice(t *testing.T) {
	counter, reg := newCounter(), prometheus.NewRegistry()
	require.NoError(t, promreg.Register(reg, counter))
	require.NoError(t, promreg.Register(reg, counter))
	counter.Inc()
	require.InDelta(t, 1, value(t, reg), 0)
}

func TestOtherCollectorOfTheSameName(t *testing.T) {
	reg := prometheus.NewRegistry()
	require.NoError(t, promreg.Register(reg, newCounter()))
	err := promreg.Register(reg, newCounter())
	var already prometheus.AlreadyRegisteredError
	require.ErrorAs(t, err, &already)
}
