package integration

import (
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// staleMinute arrives a minute past its lifetime, so that no test has to wait.
const staleMinute = "Age: 120"

func TestHitKeepsTheResponse(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.HandleFunc("/page", numbered(minute, `ETag: "1"`, "X-Page: a", "X-Page: b", "Age: 7", "Connection: X-Hop", "X-Hop: 1", "Keep-Alive: 1"))
	first := c.get("/page")
	require.Regexp(t, `^edge; fwd=uri-miss; stored; ttl=5[23]$`, cacheStatus(first)) // Date has no fractions
	for _, proto := range []harness.Proto{harness.H1, harness.H2C} {
		got := c.Get(proto, c.URL("site")+"/page")
		require.Equal(t, "answer 1", string(got.Body))
		require.Equal(t, []string{"a", "b"}, got.Header["X-Page"])
		require.Equal(t, `"1"`, got.Header.Get("ETag"))
		require.Contains(t, []string{"7", "8", "9"}, got.Header.Get("Age"))
		require.Contains(t, cacheStatus(got), "edge; hit; ttl=5")
		require.Equal(t, first.Header.Get("Date"), got.Header.Get("Date"))
		require.Empty(t, got.Header.Get("X-Hop"))
	}
	c.requireArrived("/page", 1)
}

func TestConditionalRequestsAgainstTheStore(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.HandleFunc("/strong", numbered(minute, `ETag: "1"`, "Last-Modified: "+modified))
	c.origin.HandleFunc("/weak", numbered(minute, `ETag: W/"1"`))
	c.origin.HandleFunc("/dated", numbered(minute, "Last-Modified: "+modified))
	for _, path := range []string{"/strong", "/weak", "/dated"} {
		c.get(path)
	}
	for _, tc := range []struct {
		path, line string
		status     int
	}{
		{"/strong", `If-None-Match: "1"`, 304},
		{"/strong", `If-None-Match: W/"1"`, 304},
		{"/strong", `If-None-Match: "2", "1"`, 304},
		{"/strong", `If-None-Match: "a,b", W/"1", "c"`, 304},
		{"/strong", `If-None-Match: *`, 304},
		{"/strong", `If-None-Match: "2"`, 200},
		{"/strong", `If-None-Match: 1`, 200},
		{"/strong", `If-None-Match: ""`, 200},
		{"/weak", `If-None-Match: "1"`, 304},
		{"/weak", `If-None-Match: W/"1"`, 304},
		{"/weak", `If-None-Match: W/"2"`, 200},
		{"/dated", "If-Modified-Since: " + modified, 304},
		{"/dated", "If-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT", 304},
		{"/dated", "If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT", 200},
		{"/dated", "If-Modified-Since: yesterday", 200},
		{"/strong", `If-Match: "1"`, 200},
		{"/strong", `If-Match: *`, 200},
		{"/strong", `If-Match: "2"`, 412},
		{"/weak", `If-Match: W/"1"`, 412},
		{"/dated", "If-Unmodified-Since: Mon, 01 Jan 2024 00:00:00 GMT", 412},
		{"/dated", "If-Unmodified-Since: " + modified, 200},
	} {
		t.Run(tc.path+" "+tc.line, func(t *testing.T) {
			c := c.in(t)
			got := c.get(tc.path, tc.line)
			require.Equal(t, tc.status, got.Status)
			require.Contains(t, cacheStatus(got), "edge; hit")
			if tc.status == http.StatusNotModified {
				require.Empty(t, got.Body)
				require.Empty(t, got.Header.Get("Content-Length"))
				require.NotEmpty(t, got.Header.Get("Date"))
				require.Equal(t, minute, "Cache-Control: "+got.Header.Get("Cache-Control"))
			}
			c.requireArrived(tc.path, 1)
		})
	}
	// If-None-Match stands above If-Modified-Since.
	require.Equal(t, 200, c.get("/strong", `If-None-Match: "2"`, "If-Modified-Since: "+modified).Status)
}

func TestOnlyIfCached(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.HandleFunc("/page", numbered(minute))
	require.Equal(t, http.StatusGatewayTimeout, c.get("/page", "Cache-Control: only-if-cached").Status)
	c.requireArrived("/page", 0)
	c.get("/page")
	got := c.get("/page", "Cache-Control: only-if-cached")
	require.Equal(t, http.StatusOK, got.Status)
	require.Equal(t, "answer 1", string(got.Body))
}

func TestLifetimeEnds(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.HandleFunc("/page", numbered("Cache-Control: max-age=1"))
	c.get("/page")
	poll(t, "the response is stale", func() bool {
		return c.get("/page", "Cache-Control: only-if-cached").Status == http.StatusGatewayTimeout
	})
	require.Equal(t, "answer 2", string(c.get("/page").Body))
}

func TestRevalidationUpdatesTheStoredHeader(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.HandleFunc("/page", origin.Sequence(
		text("whole", minute, staleMinute, `ETag: "1"`, "X-Version: 1", "X-Kept: 1"),
		origin.Reply{Status: 304, Headers: []string{minute, `ETag: "1"`, "X-Version: 2"}},
	))
	require.Equal(t, "1", c.get("/page").Header.Get("X-Version"))
	got := c.get("/page")
	require.Regexp(t, `^edge; fwd=stale; fwd-status=304; ttl=(59|60)$`, cacheStatus(got))
	require.Equal(t, "whole", string(got.Body))
	for range 2 {
		require.Equal(t, "2", got.Header.Get("X-Version"))
		require.Equal(t, "1", got.Header.Get("X-Kept"))
		got = c.get("/page")
		require.Contains(t, cacheStatus(got), "edge; hit; ttl=")
	}
	c.requireArrived("/page", 2)
}

func TestStaleWhileRevalidate(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	gate := origin.NewGate()
	c.origin.HandleFunc("/page", func(r *origin.Request) origin.Reply {
		if r.N == 1 {
			return text("old", "Cache-Control: max-age=60, stale-while-revalidate=600", staleMinute)
		}
		reply := text("new", minute)
		reply.HoldHeader = gate
		return reply
	})
	require.Equal(t, "old", string(c.get("/page").Body))
	// The refresh is held, so that each of these is answered without it.
	b := sendTogether(t, c.Client(harness.H1), 200, func(int) *http.Request { return c.request(http.MethodGet, "/page") })
	for _, got := range b.responses() {
		require.Equal(t, "old", string(got.Body))
		require.Contains(t, cacheStatus(got), "edge; hit; ttl=-6")
	}
	c.origin.WaitArrived(t, "/page", 2)
	gate.Open()
	poll(t, "the refresh is stored", func() bool { return string(c.get("/page").Body) == "new" })
	c.requireArrived("/page", 2)
}

func TestStaleIfError(t *testing.T) {
	t.Parallel()
	const allowed = "Cache-Control: max-age=60, stale-if-error=600"
	c := startCached(t, "")
	for _, code := range []int{500, 502, 503, 504} {
		path := fmt.Sprintf("/%d", code)
		c.origin.HandleFunc(path, origin.Sequence(text("old", allowed, staleMinute), origin.Reply{Status: code}))
		c.get(path)
		got := c.get(path)
		require.Equal(t, http.StatusOK, got.Status)
		require.Equal(t, "old", string(got.Body))
		require.Contains(t, cacheStatus(got), fmt.Sprintf("edge; fwd=stale; fwd-status=%d; ttl=-6", code))
	}
	c.origin.HandleFunc("/reset", origin.Sequence(text("old", allowed, staleMinute), origin.Reply{Raw: []byte{}, Ending: origin.Reset}))
	c.get("/reset")
	require.Equal(t, "old", string(c.get("/reset").Body))
	c.origin.HandleFunc("/404", origin.Sequence(text("old", allowed, staleMinute), origin.Reply{Status: 404}))
	c.get("/404")
	require.Equal(t, 404, c.get("/404").Status, "the origin works, and the page is gone")
	c.origin.HandleFunc("/strict", origin.Sequence(text("old", allowed+", must-revalidate", staleMinute, `ETag: "1"`), origin.Reply{Status: 503}))
	c.get("/strict")
	require.Equal(t, 503, c.get("/strict").Status)
	c.origin.HandleFunc("/not-allowed", origin.Sequence(text("old", minute, staleMinute, `ETag: "1"`), origin.Reply{Status: 503}))
	c.get("/not-allowed")
	require.Equal(t, 503, c.get("/not-allowed").Status)

	c.origin.HandleFunc("/dial", numbered(allowed, staleMinute))
	c.get("/dial")
	c.origin.Close()
	for range 2 {
		got := c.get("/dial")
		require.Equal(t, http.StatusOK, got.Status)
		require.Equal(t, "answer 1", string(got.Body))
	}
}

func TestStaleOnErrorWithoutTheOriginsWord(t *testing.T) {
	t.Parallel()
	c := startCached(t, "stale_on_error 10m")
	c.origin.HandleFunc("/page", origin.Sequence(text("old", minute, staleMinute), origin.Reply{Status: 503}))
	c.get("/page")
	require.Equal(t, "old", string(c.get("/page").Body))
	c.origin.HandleFunc("/strict", origin.Sequence(text("old", minute+", must-revalidate", staleMinute, `ETag: "1"`), origin.Reply{Status: 503}))
	c.get("/strict")
	require.Equal(t, 503, c.get("/strict").Status)
}

func TestUnsafeMethodsInvalidate(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	_, port, err := net.SplitHostPort(c.host())
	require.NoError(t, err)
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "FOO"} {
		t.Run(method, func(t *testing.T) {
			c := c.in(t)
			paths := []string{"/page", "/location", "/absolute", "/untouched", "/foreign"}
			for i, name := range paths {
				paths[i] = "/" + method + name
				c.origin.HandleFunc(paths[i], func(r *origin.Request) origin.Reply {
					if r.Method != http.MethodGet {
						return origin.Reply{Status: 201, Headers: []string{
							"Location: location", "Content-Location: " + c.URL("site") + "/" + method + "/absolute",
							"Location: http://other.example:" + port + "/" + method + "/foreign",
						}}
					}
					return numbered(minute)(r)
				})
				c.get(paths[i])
			}
			require.Equal(t, 201, c.do(method, paths[0], "x").Status)
			require.Equal(t, "answer 3", string(c.get(paths[0]).Body))
			require.Equal(t, "answer 2", string(c.get(paths[1]).Body))
			require.Equal(t, "answer 2", string(c.get(paths[2]).Body))
			require.Equal(t, "answer 1", string(c.get(paths[3]).Body))
			require.Equal(t, "answer 1", string(c.get(paths[4]).Body))
		})
	}
	t.Run("but not when they fail", func(t *testing.T) {
		c := c.in(t)
		c.origin.HandleFunc("/failed", func(r *origin.Request) origin.Reply {
			if r.Method != http.MethodGet {
				return origin.Reply{Status: 500}
			}
			return numbered(minute)(r)
		})
		c.get("/failed")
		c.do(http.MethodPost, "/failed", "x")
		require.Equal(t, "answer 1", string(c.get("/failed").Body))
	})
	t.Run("and safe ones do not", func(t *testing.T) {
		c := c.in(t)
		c.origin.HandleFunc("/safe", numbered(minute))
		c.get("/safe")
		c.do(http.MethodOptions, "/safe", "")
		require.Equal(t, "answer 1", string(c.get("/safe").Body))
	})
}

func TestCacheGroups(t *testing.T) {
	t.Parallel()
	c := startCaddyfile(t, `
		{{http "site"}}, {{http "other"}} {
			edge_cache
			reverse_proxy {{.origin}}
		}
	`, nil)
	c.origin.HandleFunc("/a", numbered(minute, `Cache-Groups: "shop", "sale"`))
	c.origin.HandleFunc("/b", numbered(minute, `Cache-Groups: "Shop"`))
	c.origin.HandleFunc("/change", func(r *origin.Request) origin.Reply {
		return origin.Reply{Status: 204, Headers: []string{`Cache-Group-Invalidation: "shop"`}}
	})
	other := func(path string) string { return string(c.Get(harness.H1, c.URL("other")+path).Body) }
	require.Equal(t, "answer 1", string(c.get("/a").Body))
	require.Equal(t, "answer 1", string(c.get("/b").Body))
	require.Equal(t, "answer 2", other("/a"))

	c.get("/change")
	require.Equal(t, "answer 1", string(c.get("/a").Body), "a safe method invalidates nothing")
	c.do(http.MethodPost, "/change", "x")
	require.Equal(t, "answer 3", string(c.get("/a").Body))
	require.Equal(t, "answer 1", string(c.get("/b").Body), "groups have a case")
	require.Equal(t, "answer 2", other("/a"), "groups belong to one origin")
}

func TestRequestDirectives(t *testing.T) {
	t.Parallel()
	c := startCached(t, "client_control honour")
	c.origin.HandleFunc("/page", numbered(minute, "Age: 20"))
	c.get("/page")
	n := 1
	for _, tc := range []struct {
		line string
		hit  bool
	}{
		{"Cache-Control: max-age=30", true},
		{"Cache-Control: max-age=10", false},
		{"Cache-Control: min-fresh=10", true},
		{"Cache-Control: min-fresh=50", false},
		{"Cache-Control: max-stale", true},
		{"Cache-Control: no-cache", false},
		{"Pragma: no-cache", false},
		{"Cache-Control: max-age=abc", true},
		{"Cache-Control: max-age=0", false},
	} {
		got := c.get("/page", tc.line)
		if !tc.hit {
			n++
		}
		require.Equal(t, fmt.Sprintf("answer %d", n), string(got.Body), tc.line)
	}
	c.origin.HandleFunc("/stale", numbered(minute, staleMinute, `ETag: "1"`))
	c.get("/stale")
	require.Equal(t, "answer 1", string(c.get("/stale", "Cache-Control: max-stale").Body))
	require.Equal(t, "answer 1", string(c.get("/stale", "Cache-Control: max-stale=100").Body))
	require.Equal(t, "answer 2", string(c.get("/stale", "Cache-Control: max-stale=10").Body))
}

func TestClientControl(t *testing.T) {
	t.Parallel()
	for mode, most := range map[string]int{"collapse": 2, "honour": 51, "ignore": 1} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			c := startCached(t, "client_control "+mode)
			c.origin.HandleFunc("/page", numbered(minute))
			c.get("/page")
			// One after the other, and fast: they all fall into one second or two.
			for range 50 {
				require.Equal(t, http.StatusOK, c.get("/page", "Cache-Control: no-cache").Status)
			}
			arrived := c.origin.Stats("/page").Arrived
			if mode == "collapse" {
				require.GreaterOrEqual(t, arrived, most)
				require.Less(t, arrived, 15, "about one a second, however slow the machine")
				return
			}
			require.Equal(t, most, arrived)
		})
	}
}
