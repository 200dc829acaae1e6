package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
)

// TestRulesReachOtherFeatures: a rule of a pack limits by a zone of edge_limit, one keeps
// edge_cache out, and PURGE passes the firewall where the cache takes it.
func TestRulesReachOtherFeatures(t *testing.T) {
	t.Parallel()
	pack := filepath.Join(t.TempDir(), "pack.yaml")
	require.NoError(t, os.WriteFile(pack, []byte(`
mode: enforce
rules:
  - {id: odd, match: {any: [{query_regex: 'odd'}]}, action: {type: limit, zone: odd}}
  - {id: fresh, match: {any: [{query_regex: 'fresh'}]}, action: {type: bypass_cache}}
`), 0o600))
	c := startCaddyfile(t, `
		{{http "site"}} {
			edge_guard
			edge_limit {
				zone all 1000/s
				zone odd 2/h {
					on_demand
				}
			}
			edge_waf {
				rules {{.pack}}
			}
			edge_cache {
				purge_allow 127.0.0.1 ::1
			}
			reverse_proxy {{.origin}}
		}
	`, harness.Vars{"pack": pack})
	c.origin.Handle("*", text("page", "Cache-Control: max-age=60"))
	get := func(method, target string) *harness.Response {
		return c.Do(harness.H1, method, c.URL("site")+target, "")
	}

	for range 20 {
		require.Equal(t, http.StatusOK, get(http.MethodGet, "/page").Status)
	}
	for range 2 {
		require.Equal(t, http.StatusOK, get(http.MethodGet, "/page?q=odd").Status)
	}
	got := get(http.MethodGet, "/page?q=odd")
	require.Equal(t, http.StatusTooManyRequests, got.Status)
	require.Equal(t, "1800", got.Header.Get("Retry-After"))
	require.Contains(t, got.Header.Get("RateLimit"), `"odd"`)
	require.Equal(t, http.StatusOK, get(http.MethodGet, "/page").Status)

	require.Contains(t, get(http.MethodGet, "/page").Header.Get("Cache-Status"), "hit")
	for range 2 {
		require.Equal(t, "edge; fwd=bypass; detail=asked", get(http.MethodGet, "/page?q=fresh").Header.Get("Cache-Status"))
	}
	require.Equal(t, http.StatusOK, get("PURGE", "/page").Status)
	require.Contains(t, get(http.MethodGet, "/page").Header.Get("Cache-Status"), "fwd=uri-miss")
}
