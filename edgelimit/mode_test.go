package edgelimit

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/standard"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// TestOperatorsMode: a mode set at run time holds over reloads, also rejected
// ones that have another mode, until a config with another mode runs.
func TestOperatorsMode(t *testing.T) {
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer occupied.Close()
	load := func(mode Mode, handlers, servers string) error {
		return reloadtest.Load(t, fmt.Sprintf(`{"apps": {"http": {"servers": {"a": {
			"listen": ["127.0.0.1:0"], "automatic_https": {"disable": true},
			"routes": [{"handle": [{"handler": "edge_limit", "zones": [{"name": "operated", "rate": "3/h", "mode": %q}]}%s]}]
		}%s}}}}`, mode, handlers, servers))
	}
	set := func(mode Mode) {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, "/edge/limit/mode", strings.NewReader(fmt.Sprintf(`{"zone": "operated", "mode": %q}`, mode)))
		require.NoError(t, serveMode(httptest.NewRecorder(), r))
	}
	requireMode := func(want Mode) {
		t.Helper()
		z, err := zoneOfName("operated")
		require.NoError(t, err)
		require.Equal(t, want, z.effectiveMode())
	}
	require.NoError(t, load(ModeEnforce, "", ""))
	requireMode(ModeEnforce)
	set(ModeShadow)
	requireMode(ModeShadow)
	require.NoError(t, load(ModeEnforce, "", ""))
	requireMode(ModeShadow)
	for _, rejected := range [][2]string{
		{`, {"handler": "edge_limit", "zones": [{"name": "bad", "rate": "3/h", "burst": -1}]}`, ""}, // while it is provisioned
		{"", `, "b": {"listen": ["` + occupied.Addr().String() + `"]}`},                             // while it starts
	} {
		for range 5 { // apps start in no particular order
			require.Error(t, load(ModeOff, rejected[0], rejected[1]))
			requireMode(ModeShadow)
		}
	}
	require.NoError(t, load(ModeOff, "", ""))
	requireMode(ModeOff)
	require.NoError(t, load(ModeEnforce, "", ""))
	requireMode(ModeEnforce) // the config had its say
	set(ModeOff)
	set("")
	requireMode(ModeEnforce)
}
