package edgecache

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/caddyedge/caddy-edge/edgecache/purge"
	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// serverRequest is one that came in at a local port of a server.
func serverRequest(server *caddyhttp.Server, port int, scheme, host string) *http.Request {
	r := ask(scheme, host, "/", "/", http.Header{})
	ctx := context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	r = r.WithContext(ctx)
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, server)
}

// TestServersShareNoKey: whatever Host a client sends, two servers of a config
// have no key in common; but http and https do when they are told to.
func TestServersShareNoKey(t *testing.T) {
	pool := []string{":80", ":443", ":8080", "127.0.0.1:80", "127.0.0.1:443", "[::1]:443", "tcp4/:8080", ":8000-8010", "unix//run/x", ":0"}
	rapid.Check(t, func(rt *rapid.T) {
		addrs := rapid.Permutation(pool).Draw(rt, "addresses")
		cut := rapid.IntRange(1, len(addrs)-1).Draw(rt, "cut")
		rules := KeyRules{IgnoreHost: rapid.Bool().Draw(rt, "ignore host"), IgnoreScheme: rapid.Bool().Draw(rt, "ignore scheme")}
		k := &keyer{rules: rules}
		keys := make([]string, 2)
		schemes := make([]string, 2)
		ports := make([]int, 2)
		for i, listen := range [][]string{addrs[:cut], addrs[cut:]} {
			schemes[i] = rapid.SampledFrom([]string{"http", "https"}).Draw(rt, "scheme")
			ports[i] = rapid.SampledFrom([]int{0, 80, 443, 8080, 8005}).Draw(rt, "port")
			host := rapid.SampledFrom([]string{"a", "a:80", "a:443", "a:8080", "a:8005", "a:", "a:x", "[::1]", "[::1]:8080"}).Draw(rt, "host")
			var ok bool
			keys[i], ok = keyOf(k, serverRequest(&caddyhttp.Server{Listen: listen}, ports[i], schemes[i], host))
			require.True(rt, ok)
		}
		told := rules.IgnoreScheme && schemes[0] != schemes[1] && ports[0] == defaultPort(schemes[0]) && ports[1] == defaultPort(schemes[1])
		if !told {
			require.NotEqual(rt, keys[0], keys[1])
		}
	})
}

// TestKeysOfOneServer: what is shared on one server stays so.
func TestKeysOfOneServer(t *testing.T) {
	key := func(rules KeyRules, port int, scheme, host string, listen ...string) string {
		key, ok := keyOf(&keyer{rules: rules}, serverRequest(&caddyhttp.Server{Listen: listen}, port, scheme, host))
		require.True(t, ok)
		return key
	}
	both := KeyRules{IgnoreScheme: true}
	plain := key(KeyRules{}, 443, "https", "a", ":443")
	require.NotContains(t, plain, ":443", "the usual key needs no server")
	require.Equal(t, plain, key(KeyRules{}, 443, "https", "a:443", ":443", ":8443"), "a listener was added")
	require.Equal(t, key(both, 80, "http", "a", ":80"), key(both, 443, "https", "a", ":443"), "ignore_scheme")
	require.Equal(t, key(KeyRules{}, 8443, "https", "a", ":8443"), key(KeyRules{}, 8443, "https", "a", ":443", ":8443"),
		"a mapped port, and a listener that was added")
	require.Equal(t, key(KeyRules{}, 443, "https", "a", "192.0.2.1:443", "[2001:db8::1]:443"),
		key(KeyRules{}, 443, "https", "a", "[2001:db8::1]:443", "192.0.2.1:443"), "the order of the addresses")
}

// TestServersShareNoResponse: a client that writes the Host of one server to
// another puts nothing into the place of the first one's pages, and a purge by
// URL finds both.
func TestServersShareNoResponse(t *testing.T) {
	a, b := freeAddress(t), freeAddress(t)
	server := func(addr, body string) string {
		return fmt.Sprintf(`{"listen": [%q], "automatic_https": {"disable": true}, "routes": [{"handle": [{"handler": "edge_cache"},
			{"handler": "static_response", "status_code": 200, "headers": {"Cache-Control": ["max-age=60"]}, "body": %q}]}]}`, addr, body)
	}
	require.NoError(t, reloadtest.Load(t, fmt.Sprintf(`{"apps": {"http": {"servers": {"a": %s, "b": %s}}}}`,
		server(a, "public site"), server(b, "intranet site"))))
	_, body := getFrom(t, b, "/", "Host", a)
	require.Equal(t, "intranet site", body)
	_, body = getFrom(t, a, "/", "Host", a)
	require.Equal(t, "public site", body)

	store, ok := pool.Peek(sharedKey)
	require.True(t, ok)
	require.Equal(t, 2, store.purgeAndCount([]purge.Purge{{Kind: purge.URL, Value: "http://" + a + "/"}}))
}

// getFrom asks a running server, with fields given as names and values.
func getFrom(t *testing.T, addr, path string, fields ...string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://"+addr+path, nil)
	require.NoError(t, err)
	for pair := range slices.Chunk(fields, 2) {
		if strings.EqualFold(pair[0], "Host") {
			r.Host = pair[1]
		}
		r.Header.Set(pair[0], pair[1])
	}
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text)
}
