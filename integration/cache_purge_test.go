package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

var purgePaths = []string{"/", "/blog", "/blog/", "/blog/2024?page=2", "/blogs", "/img/a.data", "/img/b.data?v=1", "/img/b.raw", "/tagged"}

// fill stores one response per path.
func (c *cachedEdge) fill() {
	c.t.Helper()
	c.origin.HandleFunc("/*", func(r *origin.Request) origin.Reply {
		lines := []string{minute}
		if r.Path == "/tagged" {
			lines = append(lines, "Surrogate-Key: red green", "Cache-Tag: blue")
		}
		return text(r.URI, lines...)
	})
	for _, path := range purgePaths {
		c.get(path)
	}
}

// missing returns the paths that are not in the store.
func (c *cachedEdge) missing() []string {
	c.t.Helper()
	gone := []string{}
	for _, path := range purgePaths {
		if c.get(path, "Cache-Control: only-if-cached").Status == http.StatusGatewayTimeout {
			gone = append(gone, path)
		}
	}
	return gone
}

func TestPurgeByEachKind(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	host := c.host()
	all := purgePaths
	for _, tc := range []struct {
		name string
		body any
		want []string
	}{
		{"url", map[string]any{"url": "http://" + host + "/blog"}, []string{"/blog"}},
		{"url, upper case host and scheme", map[string]any{"url": "HTTP://" + host + "/blog"}, []string{"/blog"}},
		{"url with query", map[string]any{"url": "http://" + host + "/blog/2024?page=2"}, []string{"/blog/2024?page=2"}},
		{"url without its query", map[string]any{"url": "http://" + host + "/blog/2024"}, []string{}},
		{"urls", map[string]any{"urls": []string{"http://" + host + "/blog", "http://" + host}}, []string{"/", "/blog"}},
		{"url, other host", map[string]any{"url": "http://other.example/blog"}, []string{}},
		{"tag", map[string]any{"tag": "green"}, []string{"/tagged"}},
		{"tags", map[string]any{"tags": []string{"blue", "none"}}, []string{"/tagged"}},
		{"host", map[string]any{"host": "127.0.0.1"}, all},
		{"host with port", map[string]any{"host": host}, all},
		{"host, other", map[string]any{"host": "127.0.0.11"}, []string{}},
		{"prefix", map[string]any{"prefix": host + "/blog"}, []string{"/blog", "/blog/", "/blog/2024?page=2"}},
		{"prefix of any host", map[string]any{"prefix": "/img"}, []string{"/img/a.data", "/img/b.data?v=1", "/img/b.raw"}},
		{"wildcard", map[string]any{"wildcard": "127.*/img/*.data*"}, []string{"/img/a.data", "/img/b.data?v=1"}},
		{"wildcard, any host", map[string]any{"wildcard": "/b*"}, []string{"/blog", "/blog/", "/blog/2024?page=2", "/blogs"}},
		{"all", map[string]any{"all": true}, all},
		{"several kinds", map[string]any{"tag": "red", "url": "http://" + host + "/"}, []string{"/", "/tagged"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := c.in(t)
			c.fill()
			status, body := c.Admin(http.MethodPost, "/edge/cache/purge", tc.body)
			require.Equal(t, http.StatusOK, status, string(body))
			require.JSONEq(t, fmt.Sprintf(`{"deleted":%t,"deleted_count":%d}`, len(tc.want) > 0, len(tc.want)), string(body))
			require.Equal(t, tc.want, c.missing())
		})
	}
	t.Run("key", func(t *testing.T) {
		c := c.in(t)
		c.fill()
		_, body := c.Admin(http.MethodGet, "/edge/cache/entry?url="+url.QueryEscape("http://"+host+"/blog"), nil)
		var found struct{ Entries []struct{ Key, URL string } }
		require.NoError(t, json.Unmarshal(body, &found))
		require.Len(t, found.Entries, 1)
		_, body = c.Admin(http.MethodPost, "/edge/cache/purge", map[string]string{"key": found.Entries[0].Key})
		require.JSONEq(t, `{"deleted":true,"deleted_count":1}`, string(body))
		require.Equal(t, []string{"/blog"}, c.missing())
	})
	t.Run("purge-prefix", func(t *testing.T) {
		c := c.in(t)
		c.fill()
		_, body := c.Admin(http.MethodPost, "/edge/cache/purge-prefix", map[string]string{"prefix": host + "/blog"})
		require.JSONEq(t, `{"deleted_count":3,"prefix":"`+host+`/blog"}`, string(body))
	})
	t.Run("purge-all", func(t *testing.T) {
		c := c.in(t)
		c.fill()
		_, body := c.Admin(http.MethodPost, "/edge/cache/purge-all", nil)
		require.JSONEq(t, fmt.Sprintf(`{"purged_count":%d}`, len(all)), string(body))
		require.Equal(t, all, c.missing())
	})
	t.Run("bad requests", func(t *testing.T) {
		c := c.in(t)
		c.fill()
		for _, bad := range []any{map[string]any{}, map[string]any{"uri": "/"}, map[string]any{"host": "a/b"}, map[string]any{"soft": true}, "text"} {
			status, _ := c.Admin(http.MethodPost, "/edge/cache/purge", bad)
			require.Equal(t, http.StatusBadRequest, status, bad)
		}
		status, _ := c.Admin(http.MethodGet, "/edge/cache/purge", nil)
		require.Equal(t, http.StatusMethodNotAllowed, status)
		require.Empty(t, c.missing())
	})
}

func TestSoftPurge(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.HandleFunc("/page", origin.Conditional(text("whole", minute, `ETag: "1"`)))
	c.origin.HandleFunc("/broken", origin.Sequence(
		text("old", "Cache-Control: max-age=60, stale-if-error=600"), origin.Reply{Status: 503},
	))
	c.get("/page")
	c.get("/broken")
	_, body := c.Admin(http.MethodPost, "/edge/cache/purge", map[string]any{"all": true, "soft": true})
	require.JSONEq(t, `{"deleted":true,"deleted_count":2}`, string(body))
	got := c.get("/page")
	require.Equal(t, "whole", string(got.Body))
	require.Contains(t, cacheStatus(got), "fwd=stale; fwd-status=304")
	require.Contains(t, cacheStatus(c.get("/page")), "edge; hit")
	require.Equal(t, "old", string(c.get("/broken").Body))
}

func TestPURGEMethod(t *testing.T) {
	t.Parallel()
	c := startCached(t, "purge_allow 127.0.0.1")
	c.fill()
	require.Equal(t, http.StatusOK, c.do("PURGE", "/blog", "").Status)
	require.Equal(t, []string{"/blog"}, c.missing())
	require.Equal(t, http.StatusOK, c.do("PURGE", "/", "", "Surrogate-Key: green").Status)
	require.Equal(t, []string{"/blog", "/tagged"}, c.missing())

	require.NoError(t, c.Reload(cachedSite, harness.Vars{"options": "purge_allow 10.0.0.0/8"}))
	got := c.do("PURGE", "/img/a.data", "", "X-Forwarded-For: 10.0.0.1")
	require.Equal(t, http.StatusMethodNotAllowed, got.Status)
	require.Equal(t, []string{"/blog", "/tagged"}, c.missing())
	for _, r := range c.origin.Requests("") {
		require.NotEqual(t, "PURGE", r.Method, "never forwarded")
	}
}

func TestPurgeCommand(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	for _, tc := range []struct {
		args []string
		out  string
		want []string
	}{
		{[]string{"http://" + c.host() + "/blog"}, "purged 1 stored response\n", []string{"/blog"}},
		{[]string{"--tag", "red"}, "purged 1 stored response\n", []string{"/tagged"}},
		{[]string{"--prefix", "/blog"}, "purged 3 stored responses\n", []string{"/blog", "/blog/", "/blog/2024?page=2"}},
		{[]string{"--all"}, "purged 9 stored responses\n", purgePaths},
	} {
		c.fill()
		args := append([]string{"edge", "purge", "--address", c.AdminAddr()}, tc.args...)
		result := harness.Run(t, args...)
		require.Zero(t, result.ExitCode, result.Stderr)
		require.Equal(t, tc.out, result.Stdout)
		require.Equal(t, tc.want, c.missing())
	}
	result := harness.Run(t, "edge", "purge", "--address", c.AdminAddr())
	require.NotZero(t, result.ExitCode)
	require.Contains(t, strings.ToLower(result.Stderr), "nothing to purge")
}
