package purge

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSplitURL(t *testing.T) {
	for in, want := range map[string]location{
		"":                           {path: "/", target: "/"},
		"example.com":                {host: "example.com", path: "/", target: "/"},
		"HTTPS://Example.COM:443/A":  {scheme: "https", host: "example.com", path: "/A", target: "/A"},
		"http://example.com:80":      {scheme: "http", host: "example.com", path: "/", target: "/"},
		"http://example.com:443/":    {scheme: "http", host: "example.com:443", path: "/", target: "/"},
		"example.com:443/":           {host: "example.com:443", path: "/", target: "/"},
		"https://h?q=1":              {scheme: "https", host: "h", path: "/", target: "/?q=1"},
		"https://h/a?u=http://x/y#f": {scheme: "https", host: "h", path: "/a", target: "/a?u=http://x/y"},
		"h/a?u=http://x/y":           {host: "h", path: "/a", target: "/a?u=http://x/y"},
		"/only/path":                 {path: "/only/path", target: "/only/path"},
		"http://[::1]:8080/a":        {scheme: "http", host: "[::1]:8080", path: "/a", target: "/a"},
	} {
		require.Equal(t, want, splitURL(in), "%q", in)
	}
}

func TestHostname(t *testing.T) {
	for in, want := range map[string]string{
		"":           "",
		"a.b":        "a.b",
		"a.b:1":      "a.b",
		"[::1]":      "[::1]",
		"[::1]:8080": "[::1]",
	} {
		require.Equal(t, want, hostname(in), "%q", in)
	}
}

func TestPrefixOf(t *testing.T) {
	deep := strings.Repeat("/a", MaxDepth)
	for _, c := range []struct {
		path, prefix string
		depth        int
	}{
		{"/", "", 0},
		{"/a", "/a", 1},
		{"/a/", "/a", 1},
		{"/a/b", "/a/b", 2},
		{"/a//b", "/a//b", 3},
		{"//", "/", 1},
		{deep, deep, MaxDepth},
		{deep + "/b/c", deep, MaxDepth},
	} {
		prefix, depth := prefixOf(c.path)
		require.Equal(t, c.prefix, prefix, "%q", c.path)
		require.Equal(t, c.depth, depth, "%q", c.path)
	}
}

// FuzzSplitURL checks that what was split and put together again splits the
// same way, that is, that the parts are in normal form.
func FuzzSplitURL(f *testing.F) {
	f.Add("https://Example.com:443/a/b?c#d")
	f.Add("://?")
	f.Add("a:80")
	f.Fuzz(func(t *testing.T, s string) {
		l := splitURL(s)
		require.True(t, strings.HasPrefix(l.path, "/"))
		require.True(t, strings.HasPrefix(l.target, l.path))
		require.NotContains(t, l.path, "?")
		require.NotContains(t, l.target, "#")
		require.NotContains(t, l.host, "/")
		if l.scheme != "" {
			again := splitURL(l.scheme + "://" + l.host + l.target)
			again.host = l.host // a default port behind a default port may go too
			require.Equal(t, l, again)
		}
	})
}
