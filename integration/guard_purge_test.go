package integration

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
)

// guardedCache has a guard in front of a part with a cache and one without.
const guardedCache = `
	{
		servers {
			trusted_proxies static 127.0.0.2/32
		}
	}
	{{http "site"}} {
		{{.guard}}
		handle /open/* {
			reverse_proxy {{.origin}}
		}
		handle {
			edge_cache {
				purge_allow {{.purgers}}
			}
			reverse_proxy {{.origin}}
		}
	}
`

// A guard in front of a cache lets the cache's purgers through, without a word about
// PURGE in its own options, and nobody else. Clients at 127.0.0.2 say who asks.
func TestGuardLetsPurgersThrough(t *testing.T) {
	t.Parallel()
	c := startCaddyfile(t, guardedCache, harness.Vars{"guard": "edge_guard", "purgers": "127.0.0.1 10.0.0.0/8"})
	c.origin.HandleFunc("/*", numbered(minute))
	stored := func() bool {
		return c.get("/caf%C3%A9", "Cache-Control: only-if-cached").Status == http.StatusOK
	}
	purge := func(from, target string, lines ...string) *harness.Response {
		t.Helper()
		got, err := harness.Send(c.ClientFrom(from), c.request("PURGE", target, lines...))
		require.NoError(t, err)
		return got
	}
	c.get("/caf%C3%A9")
	require.True(t, stored())
	got := purge("127.0.0.1", "/caf%c3%a9")
	require.Equal(t, http.StatusOK, got.Status, string(got.Body))
	require.False(t, stored(), "it is purged in the form that the guard has given the key")

	c.get("/caf%C3%A9")
	for _, target := range []string{"/caf%C3%A9", "/open/"} {
		got := purge("127.0.0.3", target, "X-Forwarded-For: 10.0.0.1")
		require.Equal(t, http.StatusMethodNotAllowed, got.Status)
		require.Equal(t, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS", got.Header.Get("Allow"))
	}
	require.Equal(t, http.StatusMethodNotAllowed, purge("127.0.0.2", "/caf%C3%A9", "X-Forwarded-For: 192.0.2.1").Status)
	require.True(t, stored())
	c.requireArrived("/open/", 0)

	require.Equal(t, http.StatusOK, purge("127.0.0.2", "/caf%C3%A9", "X-Forwarded-For: 10.0.0.1").Status)
	require.False(t, stored())
	require.Equal(t, http.StatusBadRequest, purge("127.0.0.1", "/x/..%2fy").Status, "the other checks hold")

	config := func(guard string) harness.Vars { return harness.Vars{"guard": guard, "purgers": "10.0.0.0/8"} }
	c.get("/caf%C3%A9")
	require.NoError(t, c.Reload(guardedCache, config("edge_guard")))
	require.Equal(t, http.StatusMethodNotAllowed, purge("127.0.0.1", "/caf%C3%A9").Status, "the configuration in force counts")
	require.NoError(t, c.Reload(guardedCache, config("edge_guard {\nmethods GET PURGE\n}")))
	require.Equal(t, http.StatusMethodNotAllowed, purge("127.0.0.1", "/caf%C3%A9").Status, "the cache looks for itself")
	require.True(t, stored())
}
