package caddyfile_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/stretchr/testify/require"
)

// example is a shipped Caddyfile, what stands on loopback for the addresses in
// it, and requests that show that it does what it says.
type example struct {
	// site is the address in the file that becomes one on loopback.
	site string
	// replace prepares the machine that the file expects, and returns pairs of
	// texts in the file and what replaces them.
	replace func(t *testing.T) []string
	steps   []step
}

// step is a request and what its response must be like.
type step struct {
	target string // "POST /path" for another method than GET
	header string // one line, or ""
	status int
	fields map[string][]string
}

var examples = map[string]example{
	"minimal.caddyfile": {
		"example.com", withOrigin("127.0.0.1:9000"), []step{
			{"/fresh", "", 200, cacheStatus("edge; fwd=uri-miss; stored; ttl=60")},
			{"/fresh", "", 200, cacheStatus("edge; hit; ttl=60")},
			{"/plain", "", 200, cacheStatus("edge; fwd=uri-miss; detail=no-freshness")},
		},
	},
	"all.caddyfile": {
		"example.com", withOrigin("127.0.0.1:9000"), []step{
			{"/fresh", "", 200, cacheStatus("edge; fwd=uri-miss; stored; ttl=60")},
			{"/fresh", "", 200, cacheStatus("edge; hit; ttl=60")},
		},
	},
	"api-limits.caddyfile": {
		"api.example.com", withOrigin("127.0.0.1:9000"), slices.Concat([]step{
			{"/fresh", "", 200, policy(`"addresses";q=100;w=2`)},
			{"/fresh", "X-Api-Key: one", 200, policy(`"addresses";q=100;w=2, "keys";q=1000;w=3600`)},
			{"/reports/1", "", 200, policy(`"addresses";q=100;w=2`)},
			{"/login", "", 401, policy(`"addresses";q=100;w=2`)}, // no try: a GET
		}, slices.Repeat([]step{{"POST /login", "", 401, nil}}, 5), []step{
			{"POST /login", "", 429, policy(`"login";q=5;w=900`)},
			{"/login", "", 401, nil},
		}),
	},
	"wordpress.caddyfile": {
		"example.com", withPHP, []step{
			{"/post/1/", "", 200, cacheStatus("edge; fwd=uri-miss; stored; ttl=600")},
			{"/post/1/?utm_source=mail", "", 200, cacheStatus("edge; hit; ttl=600")},
			{"/post/1/", "Cookie: wordpress_logged_in_1=bob", 200, cacheStatus("edge; fwd=bypass; detail=cookie")},
			{"/wp-admin/index.php", "", 200, cacheStatus("edge; fwd=bypass; detail=rule")},
			{"/style.css", "", 200, cacheStatus("edge; fwd=bypass; detail=rule")},
			{"POST /wp-login.php", "", 200, nil},
			{"POST /wp-login.php", "", 200, nil},
			{"POST /wp-login.php", "", 200, nil},
			{"POST /wp-login.php", "", 200, nil},
			{"POST /wp-login.php", "", 200, nil},
			{"POST /wp-login.php", "", 429, policy(`"login";q=5;w=900`)},
			{"/wp-login.php", "", 200, nil},
		},
	},
	"spa-api.caddyfile": {
		"app.example.com", withApp, []step{
			{"/api/fresh?b=1&a=2", "", 200, cacheStatus("edge; fwd=uri-miss; stored; ttl=60")},
			{"/api/fresh?a=2&b=1", "", 200, cacheStatus("edge; hit; ttl=60")},
			{"/api/fresh?a=2&b=1", "Cookie: session=x", 200, cacheStatus("edge; fwd=bypass; detail=cookie")},
			{"/a/deep/link", "", 200, map[string][]string{"Cache-Status": nil, "Content-Type": {"text/html; charset=utf-8"}}},
			{"/api/fresh?a=2&b=1", "", 200, map[string][]string{"X-Content-Type-Options": {"nosniff"}, "Server": nil}},
			{"/assets/app.js", "", 200, map[string][]string{"Cache-Control": {"public, max-age=31536000, immutable"}}},
		},
	},
	"static-cdn.caddyfile": {
		"cdn.example.com", withOrigin("https://origin.example.com"), []step{
			{"/logo.png?v=1&junk=2", "", 200, cacheStatus("edge; fwd=uri-miss; stored; ttl=86400")},
			{"/logo.png?v=1", "", 200, cacheStatus("edge; hit; ttl=86400")},
			{"/missing", "", 404, cacheStatus("edge; fwd=uri-miss; stored; ttl=30")},
		},
	},
	"guarded.caddyfile": {
		"http://:8080", withName("app.example.com"), []step{
			{"/plain", "", 200, map[string][]string{"X-Content-Type-Options": {"nosniff"}, "Server": {"app"}}},
			{"/a/%2e%2e/plain", "", 400, map[string][]string{"Content-Type": {"text/plain"}, "X-Content-Type-Options": {"nosniff"}}},
			{"//%69nternal//x", "", 404, nil},
			{"TRACE /plain", "", 405, map[string][]string{"Allow": {"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}}},
		},
	},
	"firewall.caddyfile": {
		"shop.example.com", withOrigin("127.0.0.1:9000"), []step{
			{"/plain", "", 200, nil},
			{"/plain?q=1%27+union+select+password+from+users--+-", "", 403, nil},
			{"/plain?password=1%27+union+select+password+from+users--+-", "", 200, nil},
			{"/.git/config", "", 404, nil},
			{"/admin/pages/1?body=%3Cscript%3Ealert(1)%3C/script%3E", "", 200, nil},
			{"/pages/1?body=%3Cscript%3Ealert(1)%3C/script%3E", "", 403, nil},
		},
	},
	"backends.caddyfile": {
		"example.com", withBackends, slices.Repeat([]step{{"/plain", "", 200, nil}}, 12),
	},
	"tunnel.caddyfile": {
		"app.example.com", func(*testing.T) []string { return nil }, []step{
			{"/plain", "", 503, map[string][]string{"Retry-After": {"1"}}}, // there is no agent
		},
	},
	"tiered-edge.caddyfile": {
		"example.com", withShields, []step{
			{"/fresh", "", 200, cacheStatus("shield; hit", "edge; fwd=uri-miss; stored; ttl=60")},
			{"/fresh", "", 200, cacheStatus("shield; hit", "edge; hit; ttl=60")},
		},
	},
	"tiered-shield.caddyfile": {
		"http://:8080", withOrigin("127.0.0.1:9000"), []step{
			{"/fresh", "", 200, cacheStatus("shield; fwd=uri-miss; stored; ttl=60")},
			{"/fresh", "", 200, cacheStatus("shield; hit; ttl=60")},
		},
	},
}

// withName is withOrigin where the site is known by a name, too.
func withName(name string) func(t *testing.T) []string {
	return func(t *testing.T) []string { return append(withOrigin("127.0.0.1:9000")(t), name, "127.0.0.1") }
}

// TestExamplesRun starts each shipped example, on loopback, and sends requests.
func TestExamplesRun(t *testing.T) {
	files, err := filepath.Glob("examples/*.caddyfile")
	require.NoError(t, err)
	require.Len(t, files, len(examples))
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { runExample(t, file) })
	}
}

func runExample(t *testing.T, file string) {
	ex, ok := examples[filepath.Base(file)]
	require.True(t, ok, "no steps for %s", file)
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	address := freeAddress(t)
	site := "http://" + address
	text := string(content)
	pairs := append([]string{"\n" + ex.site + " {", "\n" + site + " {"}, ex.replace(t)...)
	for i := 0; i < len(pairs); i += 2 {
		require.Contains(t, "\n"+text, pairs[i])
		text = strings.TrimPrefix(strings.ReplaceAll("\n"+text, pairs[i], pairs[i+1]), "\n")
	}
	start(t, file, address, text)
	for i, s := range ex.steps {
		t.Run(fmt.Sprint(i+1, s.target), func(t *testing.T) { s.check(t, site) })
	}
}

// start runs a Caddyfile in this process until the test ends, with nothing but
// loopback to listen on.
func start(t *testing.T, file, address, text string) {
	t.Helper()
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": file})
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	onLoopback := strings.ReplaceAll(string(adapted), `"listen":[":`+port+`"]`, `"listen":["`+address+`"]`)
	require.NotEqual(t, string(adapted), onLoopback)
	config := new(caddy.Config)
	require.NoError(t, json.Unmarshal([]byte(onLoopback), config))
	persist := false
	config.Admin = &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: &persist}}
	config.StorageRaw = caddyconfig.JSON(map[string]string{"module": "file_system", "root": t.TempDir()}, nil)
	require.NoError(t, caddy.Run(config))
	t.Cleanup(func() { require.NoError(t, caddy.Stop()) })
}

func (s step) check(t *testing.T, site string) {
	method, target, ok := strings.Cut(s.target, " ")
	if !ok {
		method, target = http.MethodGet, s.target
	}
	req, err := http.NewRequest(method, site+target, nil)
	require.NoError(t, err)
	if name, value, ok := strings.Cut(s.header, ": "); ok {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, s.status, resp.StatusCode)
	for name, want := range s.fields {
		if name == "Cache-Status" {
			requireStatus(t, want, resp.Header[name])
		} else {
			require.Equal(t, want, resp.Header[name], name)
		}
	}
}

// requireStatus compares Cache-Status, but for the seconds of a ttl that may have
// passed.
func requireStatus(t *testing.T, want, got []string) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		rest, seconds, hasTTL := strings.Cut(want[i], "; ttl=")
		if !hasTTL {
			require.Equal(t, want[i], got[i])
			continue
		}
		var most, left int
		_, err := fmt.Sscan(seconds, &most)
		require.NoError(t, err)
		_, err = fmt.Sscanf(got[i], rest+"; ttl=%d", &left)
		require.NoError(t, err, got[i])
		require.LessOrEqual(t, left, most)
		require.GreaterOrEqual(t, left, max(0, most-20))
	}
}

// policy is the RateLimit-Policy field in the form of Go's maps.
func policy(members string) map[string][]string {
	return map[string][]string{"Ratelimit-Policy": {members}}
}

func cacheStatus(members ...string) map[string][]string {
	return map[string][]string{"Cache-Status": members}
}

// withOrigin puts an origin in the place of one address.
func withOrigin(address string) func(t *testing.T) []string {
	return func(t *testing.T) []string {
		server := httptest.NewServer(http.HandlerFunc(serveOrigin))
		t.Cleanup(server.Close)
		if strings.Contains(address, "://") {
			return []string{address, server.URL}
		}
		return []string{address, server.Listener.Addr().String()}
	}
}

// serveOrigin is fresh for a minute under /fresh, an error under /missing, and
// silent about freshness elsewhere.
func serveOrigin(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/fresh"):
		w.Header().Set("Cache-Control", "max-age=60")
	case r.URL.Path == "/missing":
		http.NotFound(w, r)
		return
	case r.URL.Path == "/login":
		w.WriteHeader(http.StatusUnauthorized)
		return
	case strings.HasSuffix(r.URL.Path, ".png"):
		w.Header().Set("Content-Type", "image/png")
	}
	_, _ = io.WriteString(w, r.URL.Path)
}

// withShields puts one origin in the place of both shields.
func withShields(t *testing.T) []string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Status", "shield; hit")
		serveOrigin(w, r)
	}))
	t.Cleanup(server.Close)
	addr := server.Listener.Addr().String()
	return []string{"10.0.0.1:8080", addr, " 10.0.0.2:8080", ""}
}

// withBackends has one backend that answers, one that can't and one that is not
// there.
func withBackends(t *testing.T) []string {
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(failing.Close)
	return append(withOrigin("127.0.0.1:9001")(t), "127.0.0.1:9002", failing.Listener.Addr().String(), "127.0.0.1:9003", freeAddress(t))
}

// withPHP serves FastCGI on a socket, for a directory with a page and a file.
func withPHP(t *testing.T) []string {
	root := t.TempDir()
	writeFile(t, root, "index.php")
	writeFile(t, root, "wp-login.php")
	writeFile(t, root, "style.css")
	writeFile(t, root, "wp-admin/index.php")
	// The path of a socket is limited to about a hundred bytes.
	dir, err := os.MkdirTemp("", "php")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	socket := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = fcgi.Serve(listener, http.HandlerFunc(serveOrigin)) // ends with its listener
	}()
	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		<-done
	})
	return []string{"/var/www/wordpress", root, "unix//run/php/php-fpm.sock", "unix/" + socket}
}

// withApp makes the files of a single-page app and starts its API.
func withApp(t *testing.T) []string {
	root := t.TempDir()
	writeFile(t, root, "index.html")
	writeFile(t, root, "assets/app.js")
	return append(withOrigin("127.0.0.1:9000")(t), "/srv/app", root)
}

func writeFile(t *testing.T, root, name string) {
	t.Helper()
	path := filepath.Join(root, filepath.FromSlash(name))
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(name), 0o600))
}

// freeAddress is an address on loopback where nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return listener.Addr().String()
}
