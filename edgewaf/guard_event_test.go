package edgewaf

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

func init() { caddy.RegisterModule(eventProbe{}) }

// eventProbe is a handler of Caddy's events that keeps those it is given.
type eventProbe struct{}

func (eventProbe) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.edge_guard_probe", New: func() caddy.Module { return new(eventProbe) }}
}

// probed are the events that came, as "name data".
var probed struct {
	sync.Mutex
	events []string
}

// Handle implements caddyevents.Handler.
func (eventProbe) Handle(_ context.Context, e caddy.Event) error {
	probed.Lock()
	defer probed.Unlock()
	probed.events = append(probed.events, fmt.Sprintf("%s %v", e.Name(), e.Data))
	return nil
}

// awaitEvents returns the events since the last call, once there are so many.
func awaitEvents(t *testing.T, n int) []string {
	t.Helper()
	var events []string
	require.Eventually(t, func() bool {
		probed.Lock()
		defer probed.Unlock()
		if len(probed.events) < n {
			return false
		}
		events, probed.events = probed.events, nil
		return true
	}, 30*time.Second, time.Millisecond)
	return events
}

var _ caddyevents.Handler = eventProbe{}

// TestEvents: what subscribers of Caddy's events app are told, once for each client and
// check.
func TestEvents(t *testing.T) {
	list := file(t, "list.txt", []byte("192.0.2.9\n"))
	require.NoError(t, reloadtest.Load(t, fmt.Sprintf(`{"apps": {
		"events": {"subscriptions": [{"events": ["edge_guard_refused", "edge_guard_list_failed"], "handlers": [{"handler": "edge_guard_probe"}]}]},
		"http": {"servers": {"a": {"listen": ["127.0.0.1:0"], "routes": [{"handle": [
			{"handler": "edge_guard", "name": "told", "request_id": "off", "mask_client": true, "checks": {"h2c": "shadow"}, "deny": {"files": [%q]}, "refresh": "1h"}]}]}}}}}`, list)))
	g, err := guardOfName("told")
	require.NoError(t, err)
	send := func(client string, r *http.Request) {
		w := httptest.NewRecorder()
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, new(caddyhttp.Server))
		caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, client)
		require.NoError(t, g.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })))
	}
	for range 3 {
		send("192.0.2.1", request("TRACE", "/"))
		send("192.0.2.2", request("TRACE", "/"))
		send("192.0.2.1", request("GET", "/", "Upgrade: h2c"))
		send("192.0.2.1", request("GET", "/%61", "Connection: X-A", "X-A: 1")) // put right: no news
	}
	require.NoError(t, os.WriteFile(list, []byte("x"), 0o600))
	watched()[0].look(time.Now())
	watched()[0].look(time.Now())
	require.Equal(t, []string{
		"edge_guard_refused map[check:method client:192.0.2.0 guard:told mode:enforce request_id:]",
		"edge_guard_refused map[check:method client:192.0.2.0 guard:told mode:enforce request_id:]",
		"edge_guard_refused map[check:h2c client:192.0.2.0 guard:told mode:shadow request_id:]",
		"edge_guard_list_failed map[error:" + list + `: line 1: invalid address or CIDR "x" file:` + list + "]",
	}, awaitEvents(t, 4))
}
