// Package reloadtest loads configs into the Caddy of the test process, to see
// what survives a reload: load one, have one rejected, load another.
package reloadtest

import (
	"encoding/json"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage" // the default storage module
	"github.com/stretchr/testify/require"
)

// Load makes configJSON the running config, even when it equals the present
// one. The error is Caddy's: the config was rejected and the one before it runs
// on. When the test ends, Caddy is stopped.
//
// The admin endpoint is disabled and nothing is persisted. Logs are discarded
// and storage is a directory of the test, unless configJSON says otherwise.
//
// The running Caddy is one per process, so tests that load must not be parallel.
func Load(t testing.TB, configJSON string) error {
	t.Helper()
	var config map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(configJSON), &config))
	require.NotContains(t, config, "admin", "the admin endpoint is disabled in tests")
	config["admin"] = json.RawMessage(`{"disabled":true,"config":{"persist":false}}`)
	if config["logging"] == nil {
		config["logging"] = json.RawMessage(`{"logs":{"default":{"writer":{"output":"discard"}}}}`)
	}
	if config["storage"] == nil {
		config["storage"] = caddyconfig.JSONModuleObject(map[string]string{"root": t.TempDir()}, "module", "file_system", nil)
	}
	encoded, err := json.Marshal(config)
	require.NoError(t, err)
	t.Cleanup(func() { Stop(t) })
	return caddy.Load(encoded, true)
}

// Stop stops the running config and cleans it up. Without one it does nothing.
func Stop(t testing.TB) {
	t.Helper()
	require.NoError(t, caddy.Stop())
}
