package edgewaf

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/eventtest"
	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// TestEvents: what subscribers of Caddy's events app are told, once for each client and
// check.
func TestEvents(t *testing.T) {
	list := file(t, "list.txt", []byte("192.0.2.9\n"))
	require.NoError(t, reloadtest.Load(t, fmt.Sprintf(`{"apps": {
		"events": {"subscriptions": [{"events": ["edge_guard_refused", "edge_guard_list_failed"], "handlers": [{"handler": "edge_test_probe"}]}]},
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
	eventtest.Require(t,
		"edge_guard_refused map[check:method client:192.0.2.0 guard:told mode:enforce request_id:]",
		"edge_guard_refused map[check:method client:192.0.2.0 guard:told mode:enforce request_id:]",
		"edge_guard_refused map[check:h2c client:192.0.2.0 guard:told mode:shadow request_id:]",
		"edge_guard_list_failed map[error:"+list+`: line 1: invalid address or CIDR "x" file:`+list+"]",
	)
}
