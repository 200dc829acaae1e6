package edgebreaker

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// gauges returns the state that the metrics tell, by backend.
func gauges(t *testing.T) map[string]string {
	reg := prometheus.NewRegistry()
	require.NoError(t, reg.Register(stateCollector{}))
	families, err := reg.Gather()
	require.NoError(t, err)
	states := make(map[string]string)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := make(map[string]string)
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if state := labels["state"]; state != "" && m.GetGauge().GetValue() == 1 {
				states[labels["backend"]] = state
			}
		}
	}
	return states
}

// TestBackendsThatNobodyHas: one that left the configuration while it was open is not
// open for ever.
func TestBackendsThatNobodyHas(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	a.status(500, "")
	g := newRig(t)
	g.load(site("failures 1", a.address, ""))
	g.get("/")
	require.Equal(t, "open", gauges(t)[a.address])
	status := func() breaker.Status { return backend(t, a.address).Status(time.Now()) }
	listed := func(at time.Time) bool { return backendsInUse().listed(status(), at) }
	require.True(t, listed(status().OpenUntil), "it is in use")

	g.load(site("failures 1", b.address, ""))
	require.Equal(t, map[string]string{b.address: "closed"}, gauges(t))
	require.True(t, listed(time.Now()))
	require.False(t, listed(status().OpenUntil.Add(time.Millisecond)))
	_, text := call(t, "GET", "/edge/breaker/backends", "")
	require.Contains(t, text, a.address)

	t.Run("forced", func(t *testing.T) {
		force(t, breaker.ForceOpen, a.address)
		require.Equal(t, "open", gauges(t)[a.address])
		require.True(t, listed(time.Now().Add(time.Hour)))
	})
	t.Run("under way", func(t *testing.T) {
		backend(t, a.address).Force(time.Now(), breaker.Auto) // half-open
		require.False(t, listed(time.Now()))
		_, text := call(t, "GET", "/edge/breaker/backends", "")
		require.NotContains(t, text, a.address)
		attempt := backend(t, a.address).Observe(time.Now())
		require.Equal(t, "half_open", gauges(t)[a.address])
		attempt.End(time.Now(), breaker.Ignored)
		require.NotContains(t, gauges(t), a.address)
	})
	t.Run("placeholders", func(t *testing.T) {
		g.load(site("", "{header.X-To}", ""))
		require.True(t, listed(time.Now().Add(time.Hour)), "it may be asked again")
		require.NotContains(t, gauges(t), a.address)
	})
	t.Run("route", func(t *testing.T) {
		const options = "name shop\nfailures 1"
		b.status(500, "")
		route := "edge_breaker {\n" + options + "\n}\nreverse_proxy " + b.address
		g.load(route)
		eventually(t, func() bool { g.get("/"); return gauges(t)[routeAddress("shop")] == "open" })
		g.load(route + " # again")
		require.Equal(t, "open", gauges(t)[routeAddress("shop")], "also before there are requests")
		g.load(site("name other", a.address, ""))
		require.NotContains(t, gauges(t), routeAddress("shop"))
	})
}
