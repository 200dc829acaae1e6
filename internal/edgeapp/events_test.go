package edgeapp_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

func init() { caddy.RegisterModule(slowProbe{}) }

// slowProbe is a handler of events that waits for the test.
type slowProbe struct{}

// probe is what it waits for, whether it has begun to, and the numbers of the events
// that it has seen.
var probe struct {
	sync.Mutex
	gate, begun chan struct{}
	seen        []int
}

func (slowProbe) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.edgeapp_probe", New: func() caddy.Module { return new(slowProbe) }}
}

// Handle implements caddyevents.Handler.
func (slowProbe) Handle(_ context.Context, e caddy.Event) error {
	probe.Lock()
	gate, begun := probe.gate, probe.begun
	probe.Unlock()
	n := e.Data["n"].(int)
	if n == 0 {
		close(begun)
	}
	<-gate
	probe.Lock()
	defer probe.Unlock()
	probe.seen = append(probe.seen, n)
	if n == 1 {
		panic("on purpose")
	}
	return nil
}

var _ caddyevents.Handler = slowProbe{}

// TestEmitWaitsForNoHandler: events come in their order, also after a panic, as
// many as may wait; the goroutine that delivers them ends.
func TestEmitWaitsForNoHandler(t *testing.T) {
	const most = 256
	probe.gate, probe.begun, probe.seen = make(chan struct{}), make(chan struct{}), nil
	require.NoError(t, reloadtest.Load(t, `{"apps": {"edge": {}, "events": {"subscriptions": [
		{"events": ["edgeapp_probed"], "handlers": [{"handler": "edgeapp_probe"}]}
	]}}}`))
	leaks := goleak.IgnoreCurrent()
	before := droppedEvents(t)
	emit := func(n int) { edgeapp.Emit("edgeapp_probed", map[string]any{"n": n}) }
	emit(0)
	<-probe.begun // so that all the others have to wait
	for n := 1; n < 2*most; n++ {
		emit(n)
	}
	require.InDelta(t, most-1, droppedEvents(t)-before, 0)
	close(probe.gate)
	var seen []int
	require.Eventually(t, func() bool {
		probe.Lock()
		defer probe.Unlock()
		seen = probe.seen
		return len(seen) == most+1
	}, 30*time.Second, time.Millisecond)
	for i, n := range seen {
		require.Equal(t, i, n)
	}
	goleak.VerifyNone(t, leaks)
}

// TestEmitWhileAppsStart: an event that comes while apps start, which they do in any
// order, is not in the way of the events app, and keeps none that come later waiting,
// also when the config is rejected. (It may be lost with the config before.)
func TestEmitWhileAppsStart(t *testing.T) {
	probe.gate, probe.begun, probe.seen = make(chan struct{}), make(chan struct{}), nil
	close(probe.gate)
	load := func(n int, more string) error {
		return reloadtest.Load(t, fmt.Sprintf(`{"apps": {"edge": {}, "edgeapp_user": {"tell": %d}%s, "events": {"subscriptions": [
			{"events": ["edgeapp_probed"], "handlers": [{"handler": "edgeapp_probe"}]}
		]}}}`, n, more))
	}
	requireEmitted := func(n int) {
		t.Helper()
		edgeapp.Emit("edgeapp_probed", map[string]any{"n": n})
		require.Eventually(t, func() bool {
			probe.Lock()
			defer probe.Unlock()
			return len(probe.seen) > 0 && probe.seen[len(probe.seen)-1] == n
		}, 30*time.Second, time.Millisecond)
	}
	for n := 2; n < 60; n += 4 {
		require.NoError(t, load(n, ""))
		requireEmitted(n + 1)
		require.Error(t, load(n+2, `, "edgeapp_late": {}`))
		requireEmitted(n + 3)
	}
	require.IsIncreasing(t, probe.seen)
}

func droppedEvents(t *testing.T) float64 {
	t.Helper()
	ctx := caddy.ActiveContext()
	families, err := ctx.GetMetricsRegistry().Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == "caddy_edge_events_dropped_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatal("no such metric")
	return 0
}
