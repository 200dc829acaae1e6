package caddyfile_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/edgeapp"
)

// snippetName finds the names of the snippets that a file defines.
var snippetName = regexp.MustCompile(`(?m)^\(([^)]+)\)`)

// TestFiles checks all Caddyfiles that are shipped: they are formatted, adapted
// without a warning, provisioned, and pass the checks of their routes.
func TestFiles(t *testing.T) {
	for _, pattern := range []string{"examples/*.caddyfile", "snippets/*.caddyfile", "conformance/*.Caddyfile", "demo/Caddyfile"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, file := range files {
			t.Run(file, func(t *testing.T) { checkFile(t, file) })
		}
	}
}

func checkFile(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(caddyfile.Format(content)), string(content), "run caddy fmt --overwrite")

	if filepath.Dir(file) == "snippets" {
		content = caddyfile.Format(append(content, siteOfSnippets(t, string(content))...))
	}
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(content, map[string]any{"filename": file})
	require.NoError(t, err)
	require.Empty(t, warnings)

	config := new(caddy.Config)
	require.NoError(t, json.Unmarshal(adapted, config))
	ctx, err := caddy.ProvisionContext(config)
	require.NoError(t, err)
	app, err := edgeapp.From(ctx)
	require.NoError(t, err)
	require.NoError(t, app.Start())
}

// TestDemoIsForThisMachine: nobody else can reach what a visitor tries out.
func TestDemoIsForThisMachine(t *testing.T) {
	content, err := os.ReadFile("demo/Caddyfile")
	require.NoError(t, err)
	both := []string{"127.0.0.1:8080", "127.0.0.1:8090", "127.0.0.1:8443", "[::1]:8080", "[::1]:8443"}
	for _, want := range [][]string{both, both[:3]} {
		if len(want) == 3 { // as xcaddy.sh does without IPv6
			t.Setenv("EDGE_DEMO_BIND", "127.0.0.1")
		}
		adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(content, nil)
		require.NoError(t, err)
		var config struct {
			Apps struct {
				HTTP struct {
					Servers map[string]struct{ Listen []string }
				}
			}
		}
		require.NoError(t, json.Unmarshal(adapted, &config))
		var got []string
		for _, s := range config.Apps.HTTP.Servers {
			got = append(got, s.Listen...)
		}
		require.ElementsMatch(t, want, got)
	}
}

// siteOfSnippets is a site made from the lines by which the comment at the head
// of a file of snippets shows their use. They must use each snippet.
func siteOfSnippets(t *testing.T, content string) string {
	t.Helper()
	var usage strings.Builder
	for line := range strings.Lines(content) {
		if shown, ok := strings.CutPrefix(line, "#\t"); ok {
			usage.WriteString(shown)
		}
	}
	names := snippetName.FindAllStringSubmatch(content, -1)
	require.NotEmpty(t, names)
	for _, name := range names {
		require.Regexp(t, `(?m)^\s*import `+regexp.QuoteMeta(name[1])+`\b`, usage.String())
	}
	return "\n:8080 {\n" + usage.String() + "reverse_proxy 127.0.0.1:1\n}\n"
}
