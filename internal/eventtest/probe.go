// Package eventtest tells what subscribers of Caddy's events app are told. It is for tests.
package eventtest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/stretchr/testify/require"
)

func init() { caddy.RegisterModule(probe{}) }

// Handler is the name of the handler of events that keeps those it is given.
const Handler = "edge_test_probe"

type probe struct{}

// CaddyModule returns the Caddy module information.
func (probe) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers." + Handler, New: func() caddy.Module { return new(probe) }}
}

// kept are the events that came, as "name data".
var kept struct {
	sync.Mutex
	events []string
}

// Handle implements caddyevents.Handler.
func (probe) Handle(_ context.Context, e caddy.Event) error {
	kept.Lock()
	defer kept.Unlock()
	kept.events = append(kept.events, fmt.Sprintf("%s %v", e.Name(), e.Data))
	return nil
}

// patience is how long events are waited for.
const patience = 30 * time.Second

// Require waits for as many events as are wanted since the last call, which must be these.
func Require(t *testing.T, want ...string) {
	t.Helper()
	var events []string
	await(t, func() bool {
		if len(kept.events) < len(want) {
			return false
		}
		events = kept.events
		return true
	})
	require.Equal(t, want, events)
}

// Await waits until the latest event is this one.
func Await(t *testing.T, want string) {
	t.Helper()
	await(t, func() bool { return len(kept.events) > 0 && kept.events[len(kept.events)-1] == want })
}

// await waits for a condition of the events, and then forgets them.
func await(t *testing.T, done func() bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		kept.Lock()
		defer kept.Unlock()
		if !done() {
			return false
		}
		kept.events = nil
		return true
	}, patience, time.Millisecond)
}

var _ caddyevents.Handler = probe{}
