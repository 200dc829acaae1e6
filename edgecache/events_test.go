package edgecache

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

func init() { caddy.RegisterModule(eventProbe{}) }

// eventProbe is a handler of Caddy's events that keeps those it is given.
type eventProbe struct{}

func (eventProbe) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.edge_cache_probe", New: func() caddy.Module { return new(eventProbe) }}
}

// probed are the events that came, as "name origin data".
var probed struct {
	sync.Mutex
	events []string
}

// Handle implements caddyevents.Handler.
func (eventProbe) Handle(_ context.Context, e caddy.Event) error {
	probed.Lock()
	defer probed.Unlock()
	delete(e.Data, "bytes") // as it happens
	probed.events = append(probed.events, fmt.Sprintf("%s %s %v", e.Name(), e.Origin().CaddyModule().ID, e.Data))
	return nil
}

// takeProbed returns the events since the last call, once there are any.
func takeProbed(t *testing.T) []string {
	t.Helper()
	var events []string
	require.Eventually(t, func() bool {
		probed.Lock()
		defer probed.Unlock()
		events, probed.events = probed.events, nil
		return len(events) > 0
	}, 30*time.Second, time.Millisecond)
	return events
}

var _ caddyevents.Handler = eventProbe{}

// TestEvents: what subscribers of Caddy's events app are told. /large fits into
// the budget only while it arrives, /larger never does.
func TestEvents(t *testing.T) {
	address := freeAddress(t)
	require.NoError(t, reloadtest.Load(t, fmt.Sprintf(`{"apps": {
		"events": {"subscriptions": [{
			"events": ["edge_cache_purged", "edge_cache_store_full"],
			"handlers": [{"handler": "edge_cache_probe"}]
		}]},
		"edge": {"memory": 1048576},
		"http": {"servers": {"s": {
			"listen": [%q], "automatic_https": {"disable": true},
			"routes": [{"handle": [
				{"handler": "edge_cache", "purge_allow": ["127.0.0.1"], "ttl": "1m"},
				{"handler": "subroute", "routes": [
					{"match": [{"path": ["/large"]}], "handle": [{"handler": "static_response", "body": %q}]},
					{"handle": [{"handler": "static_response", "body": %q}]}
				]}
			]}]
		}}}
	}}`, address, strings.Repeat("x", 1000<<10), strings.Repeat("x", 3<<20))))
	ask := func(method, path string, field string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, nil)
		require.NoError(t, err)
		if name, value, ok := strings.Cut(field, ": "); ok {
			r.Header.Set(name, value)
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode)
	}

	t.Run("admin API", func(t *testing.T) {
		for _, tt := range []struct{ body, want string }{
			{`{"tag": "red"}`, "edge_cache_purged edge map[kind:tag purges:1 soft:false value:red]"},
			{`{"urls": ["http://a/", "http://b/"], "soft": true}`, "edge_cache_purged edge map[kind:url purges:2 soft:true value:http://a/]"},
			{`{"all": true}`, "edge_cache_purged edge map[kind:all purges:1 soft:false value:]"},
		} {
			r := httptest.NewRequest(http.MethodPost, "/edge/cache/purge", strings.NewReader(tt.body))
			r.Header.Set("Content-Type", "application/json")
			require.NoError(t, withStore(servePurgeAPI)(httptest.NewRecorder(), r))
			require.Equal(t, []string{tt.want}, takeProbed(t))
		}
	})
	t.Run("PURGE", func(t *testing.T) {
		ask("PURGE", "/a", "")
		require.Equal(t, []string{"edge_cache_purged edge map[kind:url purges:1 soft:false value:http://" + address + "/a]"}, takeProbed(t))
		ask("PURGE", "/a", "Surrogate-Key: red blue")
		require.Equal(t, []string{"edge_cache_purged edge map[kind:tag purges:2 soft:false value:red]"}, takeProbed(t))
	})
	for _, path := range []string{"/large", "/larger"} {
		t.Run("store full "+path, func(t *testing.T) {
			lastFull.Store(0)
			ask(http.MethodGet, path, "")
			ask(http.MethodGet, path+"?again", "")
			require.Equal(t, []string{"edge_cache_store_full edge map[budget:1048576]"}, takeProbed(t), "once a minute")
		})
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	reloadtest.Stop(t)
}
