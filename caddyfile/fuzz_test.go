package caddyfile

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/edgeapp"
)

// FuzzEdge: whatever stands in the block of the global option is refused, or gives an app
// that a second, empty block leaves as it is.
func FuzzEdge(f *testing.F) {
	for _, block := range []string{
		"memory 64MiB", "memory 1", "redis 127.0.0.1:6379", "redis a:1 b:2 {\nusername u\npassword p\ndb 1\ntls\nprefix x:\ninterval 1s\non_error open\n}", "memory off", "",
	} {
		f.Add(block)
	}
	f.Fuzz(func(t *testing.T, block string) {
		if strings.Contains(block, "{$") {
			return // what the machine has in its environment
		}
		value, err := parseEdge(caddyfile.NewTestDispenser("edge {\n"+block+"\n}"), nil)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		app := value.(httpcaddyfile.App)
		require.Equal(t, "edge", app.Name)
		var decoded edgeapp.App
		require.NoError(t, json.Unmarshal(app.Value, &decoded))
		require.GreaterOrEqual(t, decoded.Memory, int64(0))
		again, err := parseEdge(caddyfile.NewTestDispenser("edge {\n}"), app)
		require.NoError(t, err)
		require.JSONEq(t, string(app.Value), string(again.(httpcaddyfile.App).Value))
	})
}
