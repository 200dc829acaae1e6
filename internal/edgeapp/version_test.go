package edgeapp

import (
	"encoding/json"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"
)

func TestCheckVersion(t *testing.T) {
	for version, ok := range map[string]bool{
		"v2.11.9":                             true,
		"2.11.0":                              true,
		"v2.11.0-beta.1":                      true,
		"v2.12.0-0.20260101000000-abcdefabcd": true,
		"v3.0.0":                              true,
		"v2.11.9_custom":                      true,
		"v2.11.9+incompatible":                true,
		"v0.0.0-20260101000000-abcdefabcd":    true,
		"":                                    true,
		"unknown":                             true,
		"(devel)":                             true,
		"abcdef12-20260101":                   true,
		"v2.10.2":                             false,
		"v2.10.99-beta.1":                     false,
		"2.9.1":                               false,
		"v2.9.1_custom":                       false,
		"v1.0.5":                              false,
	} {
		err := CheckVersion(version)
		if ok {
			require.NoError(t, err, version)
			continue
		}
		require.ErrorContains(t, err, "this build has Caddy "+version+", but the edge modules need 2.11.0 or newer")
	}
}

// TestOldCaddyIsRefused: no configuration that uses a feature is loaded by a Caddy that is
// too old, and the error says what is needed.
func TestOldCaddyIsRefused(t *testing.T) {
	before := runningCaddy
	defer func() { runningCaddy = before }()
	for version, want := range map[string]string{
		"v2.10.2": "this build has Caddy v2.10.2, but the edge modules need 2.11.0 or newer", "v2.11.0": "", "(devel)": "",
	} {
		runningCaddy = func() string { return version }
		err := caddy.Validate(&caddy.Config{AppsRaw: caddy.ModuleMap{"edge": json.RawMessage(`{}`)}})
		if want == "" {
			require.NoError(t, err, version)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
}

// FuzzCheckVersion: a release number is judged the same with and without v, and
// whatever follows it.
func FuzzCheckVersion(f *testing.F) {
	f.Add("2.10.9")
	f.Add("2.11.0-beta.1")
	f.Add("(devel)")
	f.Fuzz(func(t *testing.T, s string) {
		if s == "" || s[0] == 'v' {
			return
		}
		require.Equal(t, CheckVersion(s) == nil, CheckVersion("v"+s) == nil)
		require.Equal(t, CheckVersion(s) == nil, CheckVersion(s+"_custom") == nil)
	})
}
