package edgeapp

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
)

func TestPathPatterns(t *testing.T) {
	for _, test := range []struct {
		a, b            string
		overlap, covers bool
	}{
		{"/a", "/a", true, true},
		{"/a", "/A", true, true},
		{"/a", "/b", false, false},
		{"/a/*", "/a", false, false},
		{"/a*", "/a", true, true},
		{"/a*", "/a/*", true, true},
		{"/a/*", "/a*", true, false},
		{"/a/*", "/b/*", false, false},
		{"/a/b", "/a/*", true, false},
		{"*", "/x", true, true},
		{"*.php", "/x", true, false},
		{"*.php", "*.php", true, true},
		{"/a/*/c", "/b", true, false},
		{"/a%2Fb", "/x", true, false},
		{"/{vars.x}", "/x", true, false},
		{"/a//b", "/x", true, false},
	} {
		require.Equal(t, test.overlap, pathsOverlap(test.a, test.b), "%s overlaps %s", test.a, test.b)
		require.Equal(t, test.overlap, pathsOverlap(test.b, test.a), "%s overlaps %s", test.b, test.a)
		require.Equal(t, test.covers, pathCovers(test.a, test.b), "%s covers %s", test.a, test.b)
	}
}

func TestHostPatterns(t *testing.T) {
	for _, test := range []struct {
		a, b            string
		overlap, covers bool
	}{
		{"a.test", "A.test", true, true},
		{"a.test", "b.test", false, false},
		{"*.test", "a.test", true, true},
		{"a.test", "*.test", true, false},
		{"*.test", "a.b.test", false, false},
		{"*.test", "*.test", true, true},
		{"*.b.test", "a.*.test", true, false},
		{"{env.HOST}", "a.test", true, false},
		{"{env.HOST}", "{env.HOST}", true, true},
		{"*", "{env.HOST}", true, false},
		{"localhost", "localhost", true, true},
	} {
		require.Equal(t, test.overlap, hostsOverlap(test.a, test.b), "%s overlaps %s", test.a, test.b)
		require.Equal(t, test.overlap, hostsOverlap(test.b, test.a), "%s overlaps %s", test.b, test.a)
		require.Equal(t, test.covers, hostCovers(test.a, test.b), "%s covers %s", test.a, test.b)
	}
}

// request returns a request as Caddy's matchers want it.
func request(host, path string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host, r.URL.Path = host, path
	ctx := context.WithValue(r.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	return r.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{}))
}

// FuzzPathPatterns: what is said of two patterns must hold for every path, by
// Caddy's own matcher.
func FuzzPathPatterns(f *testing.F) {
	f.Add("/a/*", "/a*", "/a/b")
	f.Add("/a/*", "/b/*", "/a/../b/c")
	f.Add("*.php", "/x*", "/x.php")
	f.Add("/A", "/a", "/a")
	f.Add("/a", "/a*", "//a")
	f.Add("/*", "*", "")
	f.Fuzz(func(t *testing.T, a, b, path string) {
		if !strings.HasPrefix(a, "/") || !strings.HasPrefix(b, "/") || !strings.HasPrefix(path, "/") {
			return
		}
		matchesA, matchesB := matchesPath(t, a, path), matchesPath(t, b, path)
		if matchesA && matchesB {
			require.True(t, pathsOverlap(a, b), "both match %q", path)
		}
		if matchesB && pathCovers(a, b) {
			require.True(t, matchesA, "%q covers %q but does not match %q", a, b, path)
		}
	})
}

func matchesPath(t *testing.T, pattern, path string) bool {
	t.Helper()
	m := caddyhttp.MatchPath{pattern}
	require.NoError(t, m.Provision(caddy.Context{}))
	matches, err := m.MatchWithError(request("a.test", path))
	require.NoError(t, err)
	return matches
}

// FuzzHostPatterns is FuzzPathPatterns for hosts.
func FuzzHostPatterns(f *testing.F) {
	f.Add("*.test", "a.test", "a.test")
	f.Add("a.*.test", "*.b.test", "a.b.test")
	f.Add("A.test", "a.test", "a.TEST")
	f.Add("*", "localhost", "localhost")
	f.Fuzz(func(t *testing.T, a, b, host string) {
		if strings.ContainsAny(a+b+host, "{}:[]") {
			return
		}
		matchesA, okA := matchesHost(a, host)
		matchesB, okB := matchesHost(b, host)
		if !okA || !okB {
			return
		}
		if matchesA && matchesB {
			require.True(t, hostsOverlap(a, b), "both match %q", host)
		}
		if matchesB && hostCovers(a, b) {
			require.True(t, matchesA, "%q covers %q but does not match %q", a, b, host)
		}
	})
}

// matchesHost fails for patterns that Caddy refuses.
func matchesHost(pattern, host string) (matches, ok bool) {
	m := caddyhttp.MatchHost{pattern}
	if m.Provision(caddy.Context{}) != nil {
		return false, false
	}
	matches, err := m.MatchWithError(request(host, "/"))
	return matches, err == nil
}
