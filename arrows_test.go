package edge_test

import (
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const modulePath = "github.com/caddyedge/caddy-edge"

// arrow forbids imports. Packages are given by their paths below the module, or
// by whole paths when they belong to other modules.
type arrow struct {
	forbids func(from, to string) bool
	reason  string
}

var arrows = []arrow{
	{
		func(from, to string) bool { return feature(from) && feature(to) && family(from) != family(to) },
		"features meet at run time only: request variables, internal/reqinfo, internal/api",
	},
	{
		func(from, to string) bool { return family(from) == "internal" && feature(to) },
		"internal packages are below the features",
	},
	{
		func(from, to string) bool { return family(from) == "caddyfile" && feature(to) },
		"each feature registers its own directive, so that it is complete alone",
	},
	{
		func(from, to string) bool { return from != "" && to == "caddyfile" },
		"only the root package brings the global option in",
	},
	{
		func(from, to string) bool { return family(from) == "integration" && feature(to) },
		"integration tests drive the real binary",
	},
	{
		func(from, to string) bool { return feature(from) && from != family(from) && caddy(to) },
		"the packages below a feature are its core, free of Caddy, so that it can be tested and fuzzed alone",
	},
	{
		func(_, to string) bool { return family(to) == "cmd" },
		"commands are not libraries",
	},
}

// TestArrows holds the directions of the imports.
func TestArrows(t *testing.T) {
	packages := listPackages(t)
	require.Contains(t, packages, "cmd/caddy")
	require.Contains(t, packages, "internal/edgeapp")
	for path, imports := range packages {
		for _, imported := range imports {
			for _, reason := range forbidden(path, imported) {
				t.Errorf("%s must not import %s: %s", path, imported, reason)
			}
		}
	}
}

// TestForbidden shows that the rules of TestArrows can fail.
func TestForbidden(t *testing.T) {
	for _, test := range []struct {
		from, to string
		allowed  bool
	}{
		{"", "caddyfile", true},
		{"", "edgecache", true},
		{"cmd/caddy", "", true},
		{"edgecache", "edgecache/rfc9111", true},
		{"edgecache/tier", "edgecache/object", true},
		{"edgecache", "internal/api", true},
		{"edgecache", "github.com/caddyserver/caddy/v2", true},
		{"caddyfile", "internal/edgeapp", true},
		{"edgecache", "edgelimit", false},
		{"edgecache", "edgelimit/gcra", false},
		{"internal/api", "edgecache", false},
		{"integration", "edgecache", false},
		{"edgecache", "caddyfile", false},
		{"cmd/caddy", "caddyfile", false},
		{"caddyfile", "edgecache", false},
		{"edgebreaker", "edgebreaker/breaker", true},
		{"edgebreaker/breaker", "internal/histogram", true},
		{"edgebreaker", "edgelimit", false},
		{"edgebreaker/balance", "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy", false},
		{"internal/histogram", "edgebreaker/breaker", false},
		{"edgecache/rfc9111", "github.com/caddyserver/caddy/v2/modules/caddyhttp", false},
		{"edgecache", "cmd/caddy", false},
	} {
		require.Equal(t, test.allowed, len(forbidden(test.from, test.to)) == 0, "%s imports %s", test.from, test.to)
	}
}

// forbidden returns why from must not import to.
func forbidden(from, to string) (reasons []string) {
	for _, a := range arrows {
		if a.forbids(from, to) {
			reasons = append(reasons, a.reason)
		}
	}
	return reasons
}

// listPackages returns the imports of the module's packages, tests left out, by
// path below the module.
func listPackages(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	require.NoError(t, err)
	packages := make(map[string][]string)
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		err := dec.Decode(&p)
		if err == io.EOF {
			return packages
		}
		require.NoError(t, err)
		for i, imported := range p.Imports {
			p.Imports[i] = below(imported)
		}
		packages[below(p.ImportPath)] = p.Imports
	}
}

// below cuts the module's path off.
func below(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, modulePath), "/")
}

// family is the first element of a path.
func family(path string) string {
	first, _, _ := strings.Cut(path, "/")
	return first
}

func feature(path string) bool { return strings.HasPrefix(path, "edge") }

func caddy(path string) bool { return strings.HasPrefix(path, "github.com/caddyserver/caddy/") }
