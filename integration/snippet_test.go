package integration

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// startSnippet starts a site with directives in front of its proxy, the cache's options,
// and those of the proxy, any of which may use the snippets.
func startSnippet(t *testing.T, front, cache, proxy string, more ...string) *cachedEdge {
	t.Helper()
	files, err := filepath.Abs("../caddyfile/snippets/*.caddyfile")
	require.NoError(t, err)
	second := origin.Start(t)
	second.Handle("*", text("second"))
	vars := harness.Vars{"snippets": files, "front": front, "cache": "", "proxy": proxy, "second": ""}
	if cache != "" {
		vars["cache"] = "edge_cache {\n" + cache + "\n}"
	}
	if len(more) > 0 {
		vars["second"] = second.Addr()
	}
	return startCaddyfile(t, `
		import {{.snippets}}
		{{http "site"}} {
			log
			{{.front}}
			{{.cache}}
			reverse_proxy {{.origin}} {{.second}} {
				{{.proxy}}
			}
		}
	`, vars)
}

func TestSnippetTracking(t *testing.T) {
	t.Parallel()
	c := startSnippet(t, "", "import edge_ignore_tracking", "")
	c.origin.HandleFunc("/*", reflection())
	got := c.get("/page?id=1&utm_source=mail&gclid=x")
	require.Contains(t, string(got.Body), "GET /page?id=1\n", "they are not forwarded")
	require.Contains(t, cacheStatus(c.get("/page?id=1")), "edge; hit")
	require.Contains(t, cacheStatus(c.get("/page?fbclid=y&id=1")), "edge; hit")
	require.NotContains(t, cacheStatus(c.get("/page?id=2")), "hit")
}

func TestSnippetWordPress(t *testing.T) {
	t.Parallel()
	c := startSnippet(t, "", "ttl 10m\nimport edge_wordpress_bypass", "")
	c.origin.HandleFunc("/*", numbered())
	require.Contains(t, cacheStatus(c.get("/")), "stored")
	require.Contains(t, cacheStatus(c.get("/", "Cookie: analytics=1")), "edge; hit")
	for _, name := range []string{"wordpress_logged_in_0123", "wordpress_sec_0", "wp-postpass_0", "comment_author_0", "woocommerce_items_in_cart", "woocommerce_cart_hash", "wp_woocommerce_session_0"} {
		require.Equal(t, "edge; fwd=bypass; detail=cookie", cacheStatus(c.get("/", "Cookie: a=b; "+name+"=1")), name)
	}
	for _, path := range []string{"/wp-admin/index.php", "/wp-login.php", "/wp-cron.php", "/xmlrpc.php"} {
		require.Equal(t, "edge; fwd=bypass; detail=rule", cacheStatus(c.get(path)), path)
	}
}

func TestSnippetLoginLimit(t *testing.T) {
	t.Parallel()
	c := startSnippet(t, "import edge_login_limit login /login 401 403", "", "")
	c.origin.HandleFunc("/login*", func(r *origin.Request) origin.Reply {
		if r.Header.Get("Authorization") == "right" {
			return text("in")
		}
		return origin.Reply{Status: http.StatusUnauthorized}
	})
	for range 8 {
		require.Equal(t, http.StatusOK, c.do(http.MethodPost, "/login", "", "Authorization: right").Status, "what succeeds does not count")
	}
	for range 5 {
		require.Equal(t, http.StatusUnauthorized, c.do(http.MethodPost, "/login", "").Status)
	}
	got := c.do(http.MethodPost, "/login/step2", "", "Authorization: right")
	require.Equal(t, http.StatusTooManyRequests, got.Status)
	require.NotEmpty(t, got.Header.Get("Retry-After"))
	require.Equal(t, http.StatusUnauthorized, c.get("/login").Status, "only tries count")
}

func TestSnippetSecurityHeaders(t *testing.T) {
	t.Parallel()
	c := startSnippet(t, "import edge_security_headers", "ttl 1m", "")
	c.origin.Handle("/", text("x", "X-Frame-Options: ALLOWALL", "X-Powered-By: old", "Server: old"))
	for _, want := range []string{"stored", "hit"} {
		got := c.get("/")
		require.Contains(t, cacheStatus(got), want)
		for name, value := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "strict-origin-when-cross-origin",
			"Permissions-Policy": "camera=(), microphone=(), geolocation=()", "X-Powered-By": "", "Server": "",
		} {
			require.Equal(t, value, got.Header.Get(name), name)
			require.LessOrEqual(t, len(got.Header[name]), 1)
		}
	}
}

func TestSnippetRequestID(t *testing.T) {
	t.Parallel()
	c := startSnippet(t, "import edge_request_id", "ttl 1m", "")
	c.origin.Handle("/", text("x", "X-Request-Id: from-the-origin"))
	first := c.get("/", "X-Request-Id: from-the-client")
	id := first.Header.Get("X-Request-Id")
	require.Len(t, id, 36)
	require.Equal(t, id, c.origin.Requests("/")[0].Header.Get("X-Request-Id"), "the origin has the same")
	second := c.get("/")
	require.Contains(t, cacheStatus(second), "edge; hit")
	require.Len(t, second.Header.Get("X-Request-Id"), 36)
	require.NotEqual(t, id, second.Header.Get("X-Request-Id"), "it is not the stored one")
	for _, want := range []string{id, second.Header.Get("X-Request-Id")} {
		c.WaitLog(func(e harness.Entry) bool { return e["request_id"] == want })
	}
}

func TestSnippetStaticAssets(t *testing.T) {
	t.Parallel()
	c := startSnippet(t, "import edge_static_matcher", "import edge_static_assets 30d", "")
	c.origin.Handle("/a.css", origin.Reply{Headers: []string{"Content-Type: text/css"}, Body: []byte("x")})
	c.origin.Handle("/page", text("x"))
	require.Equal(t, "edge; fwd=uri-miss; stored; ttl=2592000", cacheStatus(c.get("/a.css")))
	require.Contains(t, cacheStatus(c.get("/a.css")), "edge; hit")
	require.Equal(t, "edge; fwd=uri-miss; detail=no-freshness", cacheStatus(c.get("/page")))
}

func TestSnippetAPI(t *testing.T) {
	t.Parallel()
	c := startSnippet(t, "", "import edge_api_no_cache /api", "")
	c.origin.Handle("*", text("x", minute))
	for path, want := range map[string]string{
		"/api": "edge; fwd=bypass; detail=rule", "/api/users/1": "edge; fwd=bypass; detail=rule", "/apiary": "edge; fwd=uri-miss; stored; ttl=60",
	} {
		require.Equal(t, want, cacheStatus(c.get(path)), path)
	}
}

func TestSnippetRetry(t *testing.T) {
	t.Parallel()
	c := startSnippet(t, "edge_breaker", "", "lb_policy edge\nimport edge_retry 2", "second")
	c.origin.Handle("*", origin.Reply{Status: http.StatusServiceUnavailable})
	shown := make(map[int]int)
	for range 2 {
		require.Equal(t, "second", string(c.get("/").Body))
	}
	for range 4 { // to each backend once at least
		shown[c.do(http.MethodPost, "/form", "x").Status]++
	}
	require.Positive(t, c.origin.Stats("/").Arrived, "the other one was asked")
	require.Positive(t, shown[http.StatusServiceUnavailable], "what may not be repeated is not")
}

func TestSnippetGuard(t *testing.T) {
	t.Parallel()
	c := startSnippet(t, "import edge_guard_site 1KiB", "", "")
	c.origin.HandleFunc("/*", reflection())
	got := c.get("/a/./b//../c")
	require.Contains(t, string(got.Body), "GET /a/c\n")
	require.NotEmpty(t, got.Header.Get("X-Content-Type-Options"))
	require.Equal(t, http.StatusRequestEntityTooLarge, c.do(http.MethodPost, "/", string(origin.Pattern(1025))).Status)
}
