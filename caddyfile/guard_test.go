package caddyfile_test

import (
	"encoding/json"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/edgeapp"
)

// TestGuardBehindTheCache: a guard or firewall that a hit would go around is refused when a
// configuration is loaded.
func TestGuardBehindTheCache(t *testing.T) {
	start := func(directives string) error {
		text := "http://a.test {\nroute {\n" + directives + "\nreverse_proxy 127.0.0.1:1\n}\n}"
		adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
		require.NoError(t, err)
		config := new(caddy.Config)
		require.NoError(t, json.Unmarshal(adapted, config))
		ctx, err := caddy.ProvisionContext(config)
		require.NoError(t, err)
		app, err := edgeapp.From(ctx)
		require.NoError(t, err)
		return app.Start()
	}
	require.NoError(t, start("edge_guard\nedge_cache"))
	require.ErrorContains(t, start("edge_cache\nedge_guard"), "edge_guard at ")
	require.NoError(t, start("edge_waf\nedge_cache"))
	require.ErrorContains(t, start("edge_cache\nedge_waf"), "edge_waf at ")
	require.NoError(t, start("edge_cache /static/*\nedge_guard /api/*"))
}
