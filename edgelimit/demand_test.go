package edgelimit

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

// TestZoneOnDemand: only who names the zone charges it, and its refusals are the
// limiter's own.
func TestZoneOnDemand(t *testing.T) {
	g, cleanup := newRig(t, `{"zones": [{"name": "all", "rate": "1000/s"}, {"name": "odd", "rate": "2/h", "on_demand": true}]}`)
	defer cleanup()
	ask := func(zone string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, new(caddyhttp.Server))
		caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "192.0.2.1")
		require.NoError(t, g.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			if zone == "" {
				return nil
			}
			found, refused, err := reqinfo.Charge(w, r, zone)
			if found != (zone == "odd") {
				return caddyhttp.Error(http.StatusTeapot, err)
			}
			if !refused {
				w.WriteHeader(http.StatusOK)
			}
			return nil
		})))
		return w
	}
	for range 5 {
		require.Equal(t, http.StatusOK, ask("").Code, "it is charged by nobody else")
	}
	require.Equal(t, http.StatusOK, ask("odd").Code)
	require.Equal(t, http.StatusOK, ask("odd").Code)
	w := ask("odd")
	require.Equal(t, http.StatusTooManyRequests, w.Code)
	require.Equal(t, "1800", w.Header().Get("Retry-After"))
	require.Equal(t, http.StatusOK, ask("").Code)
	require.Equal(t, http.StatusOK, ask("all").Code, "a zone that charges by itself is not found")
}
