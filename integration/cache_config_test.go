package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
)

// caddy validate refuses options that are unknown, malformed, given twice or contradictory,
// and names directive, option and value.
func TestCacheOptionsAreValidated(t *testing.T) {
	t.Parallel()
	validate := func(global, options string) harness.CommandResult {
		t.Helper()
		file := filepath.Join(t.TempDir(), "Caddyfile")
		require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "{\n%s\n}\n:1 {\n\tedge_cache {\n%s\n}\n\treverse_proxy 127.0.0.1:2\n}\n", global, options), 0o600))
		return harness.Run(t, "validate", "--config", file)
	}
	good := validate("edge {\nmemory 64MiB\n}", "ttl 1m\nkey {\nquery sort\n}\npurge_allow 127.0.0.1")
	require.Equal(t, 0, good.ExitCode, good.Stderr)
	for _, bad := range []struct {
		global, options string
		says            []string
	}{
		{"", "tll 1m", []string{"edge_cache", `unknown option "tll"`}},
		{"", "ttl soon", []string{"edge_cache: ttl", `"soon"`}},
		{"", "ttl 0", []string{"edge_cache: ttl", `"0"`}},
		{"", "ttl 1m\nttl 2m", []string{"edge_cache: ttl", "more than once"}},
		{"", "ttl 1m\noverride 2m", []string{"edge_cache: ttl: 1m", "override"}},
		{"", "max_ttl 1s\noverride 1m", []string{"edge_cache: max_ttl: 1s", "override"}},
		{"", "negative_ttl 1m 200", []string{"edge_cache: negative_ttl", `"200"`}},
		{"", "heuristic 2", []string{"edge_cache: heuristic", "2"}},
		{"", "max_object_size big", []string{"edge_cache: max_object_size", `"big"`}},
		{"", "client_control never", []string{"edge_cache: client_control", `"never"`, "collapse, honour, ignore"}},
		{"", "request_headers strict", []string{"edge_cache: request_headers", `"strict"`, "strip"}},
		{"", "purge_allow nobody", []string{"edge_cache: purge_allow", `"nobody"`}},
		{"", "key {\nignore_host\n}", []string{"edge_cache: key: ignore_host", "namespace"}},
		{"", "key {\nquery allow a\nquery ignore b\n}", []string{"edge_cache: key", "query allow", "query ignore"}},
		{"", "collapse off\ncollapse {\nwaiters 1\n}", []string{"edge_cache: collapse", "more than once"}},
		{"", "rule /a {\nbypass\nttl 1m\n}", []string{"rule 1", "bypass excludes"}},
		{"", "development tomorrow", []string{"edge_cache: development", `"tomorrow"`}},
		{"edge {\nmemory much\n}", "", []string{"edge: memory", `"much"`}},
		{"edge {\nmemroy 1MiB\n}", "", []string{"edge", `unknown option "memroy"`}},
	} {
		got := validate(bad.global, bad.options)
		require.Equal(t, 1, got.ExitCode, bad.global+bad.options)
		for _, part := range bad.says {
			require.Contains(t, strings.ReplaceAll(got.Stderr, `\"`, `"`), part, bad.global+bad.options)
		}
	}
}
