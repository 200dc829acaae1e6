package edgelimit

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgelimit/gcra"
	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// TestWindowOfAnotherLength: a reload that changes the length of a window keeps what
// clients have used and their penalties; one that is rejected changes nothing.
func TestWindowOfAnotherLength(t *testing.T) {
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer occupied.Close()
	load := func(window, servers string) error {
		return reloadtest.Load(t, fmt.Sprintf(`{"apps": {"http": {"servers": {"a": {
			"listen": ["127.0.0.1:0"], "automatic_https": {"disable": true},
			"routes": [{"handle": [{"handler": "edge_limit", "zones": [{"name": "stretched", "window": %q, "keys": 256}]}]}]
		}%s}}}}`, window, servers))
	}
	zone := func() *Zone {
		t.Helper()
		z, err := zoneOfName("stretched")
		require.NoError(t, err)
		return z
	}
	user, banned := gcra.HashString("user"), gcra.HashString("banned")
	requireLeft := func(want int) {
		t.Helper()
		z := zone()
		require.Equal(t, want, z.tables.rates.Check(user, z.levels[0].limit, 0, gcra.Now()).Remaining)
		_, blocked := z.tables.penalties.Blocked(banned, gcra.Now())
		require.True(t, blocked)
	}
	require.NoError(t, load("3/1h", ""))
	z := zone()
	z.tables.rates.Charge(user, z.levels[0].limit, 2, gcra.Now())
	z.tables.penalties.Block(banned, time.Hour, gcra.Now())
	requireLeft(1)
	require.NoError(t, load("5/1d", ""))
	requireLeft(3)
	for range 5 { // apps start in no particular order
		require.Error(t, load("100/7h", `, "b": {"listen": ["`+occupied.Addr().String()+`"]}`))
		requireLeft(3)
	}
	require.NoError(t, load("3/2h", ""))
	requireLeft(1)
	require.NoError(t, load("4/2h", ""))
	requireLeft(2)
}
