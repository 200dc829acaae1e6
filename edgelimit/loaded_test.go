package edgelimit

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// loadHandlers loads a config with the handlers of one route and more apps, and
// returns what serves a request of a client by it, without the network.
func loadHandlers(t *testing.T, handlers, apps string) func(client string) *httptest.ResponseRecorder {
	t.Helper()
	require.NoError(t, reloadtest.Load(t, fmt.Sprintf(`{"apps": {%s "http": {"servers": {"a": {
		"listen": ["127.0.0.1:0"], "automatic_https": {"disable": true}, "routes": [{"handle": [%s]}]}}}}}`, apps, handlers)))
	app, err := caddy.ActiveContext().App("http")
	require.NoError(t, err)
	server := app.(*caddyhttp.App).Servers["a"]
	return func(client string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		server.ServeHTTP(w, request(client, "http://a/"))
		return w
	}
}

// clusterApp is the app edge with a Redis server.
func clusterApp(addr, onError string) string {
	return fmt.Sprintf(`"edge": {"redis": {"addresses": [%q], "interval": "10ms", "timeout": "5s", "on_error": %q}},`, addr, onError)
}

// TestLateRefusalRefunds: a zone that is charged before another one refuses gets
// back what it took, in its table and in the account of the cluster.
func TestLateRefusalRefunds(t *testing.T) {
	send := loadHandlers(t, `{"handler": "edge_limit", "zones": [
		{"name": "late-local", "rate": "10/h"},
		{"name": "late-wide", "rate": "10/h", "cluster": true},
		{"name": "late-narrow", "rate": "2/h", "cluster": true}
	]}`, clusterApp("127.0.0.1:1", "local"))
	requireLeft := func(want int, zones ...string) {
		t.Helper()
		for _, name := range zones {
			w := httptest.NewRecorder()
			require.NoError(t, serveKey(w, httptest.NewRequest(http.MethodGet, "/edge/limit/key?zone="+name+"&key=192.0.2.1", nil)))
			require.Contains(t, w.Body.String(), fmt.Sprintf(`"remaining":%d,`, want), name)
		}
	}
	for range 2 {
		require.Equal(t, http.StatusOK, send("192.0.2.1").Code)
	}
	requireLeft(8, "late-local", "late-wide")
	for range 20 {
		w := send("192.0.2.1")
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.Contains(t, w.Header().Get("RateLimit"), `"late-narrow"`)
	}
	requireLeft(8, "late-local", "late-wide")
	requireLeft(0, "late-narrow")
}
