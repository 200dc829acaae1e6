package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// requireAnswers sends one request after the other and compares the ordinals of
// the answers: "1 1 2" says that the second was a hit and the third was not.
func (c *cachedEdge) requireAnswers(want string, path string, requests ...[]string) {
	c.t.Helper()
	var got []string
	for _, lines := range requests {
		got = append(got, strings.TrimPrefix(string(c.get(path, lines...).Body), "answer "))
	}
	require.Equal(c.t, want, strings.Join(got, " "))
}

func TestKeyOptions(t *testing.T) {
	t.Parallel()
	c := startCached(t, `key {
				query sort
				query ignore tracking debug
				header X-Device
				cookie theme
				value {http.request.header.X-Country}
			}`)
	c.origin.HandleFunc("/*", numbered(minute))
	none := []string(nil)
	t.Run("header", func(t *testing.T) {
		c.in(t).requireAnswers("1 2 3 1 2 1", "/header", none, []string{"X-Device: phone"}, []string{"X-Device: tv"}, none, []string{"X-Device: phone"}, []string{"X-Other: 1"})
	})
	t.Run("cookie", func(t *testing.T) {
		c.in(t).requireAnswers("1 2 1 2 3", "/cookie", none, []string{"Cookie: theme=dark"}, []string{"Cookie: a=b"}, []string{"Cookie: a=b; theme=dark"}, []string{"Cookie: theme=light"})
	})
	t.Run("value", func(t *testing.T) {
		c.in(t).requireAnswers("1 2 3 2", "/value", none, []string{"X-Country: de"}, []string{"X-Country: fr"}, []string{"X-Country: de"})
	})
	t.Run("query", func(t *testing.T) {
		c := c.in(t)
		for query, want := range map[string]string{
			"a=1&b=2": "answer 1", "b=2&a=1": "answer 1", "b=2&utm_source=x&a=1": "answer 1", "debug=1&b=2&a=1&gclid=1": "answer 1",
		} {
			require.Equal(t, want, string(c.get("/query?"+query).Body), query)
		}
		require.Equal(t, "answer 2", string(c.get("/query?a=2&b=1").Body))
		require.Equal(t, "answer 3", string(c.get("/query?a=1&a=0").Body))
		require.Equal(t, "answer 4", string(c.get("/query?a=0&a=1").Body), "equal names keep their order")
		for i, r := range c.origin.Requests("/query") {
			require.Equal(t, []string{"/query?a=1&b=2", "/query?a=2&b=1", "/query?a=1&a=0", "/query?a=0&a=1"}[i], r.URI)
		}
	})
}

func TestForwardIgnored(t *testing.T) {
	t.Parallel()
	c := startCached(t, `key {
				query ignore debug
				query forward_ignored
			}`)
	c.origin.HandleFunc("/page", numbered(minute))
	c.get("/page?debug=1&a=1")
	require.Equal(t, "answer 1", string(c.get("/page?a=1").Body))
	require.Equal(t, "/page?debug=1&a=1", c.origin.Requests("/page")[0].URI)
}

func TestNamespaceAndSharedHosts(t *testing.T) {
	t.Parallel()
	c := startCaddyfile(t, `
		{{http "site"}} {
			@beta header X-Beta 1
			handle @beta {
				edge_cache {
					namespace beta
				}
				reverse_proxy {{.origin}}
			}
			handle {
				edge_cache
				reverse_proxy {{.origin}}
			}
		}
		http://a.test:{{port "shared"}}, http://b.test:{{port "shared"}}, {{http "shared"}} {
			edge_cache {
				namespace shared
				key {
					ignore_host
				}
			}
			reverse_proxy {{.origin}}
		}
	`, nil)
	c.origin.HandleFunc("/*", numbered(minute))
	c.requireAnswers("1 2 1 2", "/page", nil, []string{"X-Beta: 1"}, nil, []string{"X-Beta: 1"})
	for _, host := range []string{"a.test", "b.test"} {
		require.Equal(t, "answer 1", string(c.Get(harness.H1, c.URL("shared")+"/shared", "Host: "+host).Body))
	}

	err := c.Reload(`
		{{http "site"}} {
			@beta header X-Beta 1
			handle @beta {
				edge_cache
				reverse_proxy {{.origin}}
			}
			handle {
				edge_cache
				reverse_proxy {{.origin}}
			}
		}
	`)
	require.ErrorContains(t, err, "namespace")
}

func TestFreshnessOptions(t *testing.T) {
	t.Parallel()
	c := startCached(t, `ttl 10m
			negative_ttl 5m 404 410
			max_ttl 1h
			rule /long/* {
				override 30m
			}
			rule /all/* {
				override 30m all
			}
			rule /cookies/* {
				set_cookie store
			}
			rule /old/* {
				heuristic 0.5 20m
			}
			bypass /bypass/*
			bypass_cookie session_* admin`)
	status := func(code int, lines ...string) origin.Func {
		return func(r *origin.Request) origin.Reply {
			return origin.Reply{Status: code, Headers: lines, Body: fmt.Appendf(nil, "answer %d", r.N)}
		}
	}
	for _, tc := range []struct {
		name, path string
		script     origin.Func
		ttl        string // "" when not stored
	}{
		{"ttl", "/ttl", status(200), "599|600"},
		{"ttl is not for other errors", "/500", status(500), ""},
		{"ttl is not for unknown statuses", "/302", status(302), ""},
		{"ttl gives way", "/given", status(200, minute), "59|60"},
		{"max_ttl", "/max", status(200, "Cache-Control: max-age=999999"), "3599|3600"},
		{"negative", "/404", status(404), "299|300"},
		{"negative, other", "/410", status(410), "299|300"},
		{"negative, given", "/404given", status(404, minute), "59|60"},
		{"override", "/long/a", status(200, minute), "1799|1800"},
		{"override respects private", "/long/b", status(200, "Cache-Control: private"), ""},
		{"override respects no-store", "/long/c", status(200, "Cache-Control: no-store"), ""},
		{"override is not for errors", "/long/d", status(500, "Cache-Control: no-store"), ""},
		{"override all", "/all/a", status(200, "Cache-Control: private, no-store"), "1799|1800"},
		{"cookies", "/cookies/a", status(200, minute, "Set-Cookie: a=b"), "59|60"},
		{"cookies elsewhere", "/nocookies", status(200, minute, "Set-Cookie: a=b"), ""},
		{"heuristic", "/old/a", status(200, "Last-Modified: "+modified), "1199|1200"},
		{"bypass", "/bypass/a", status(200, minute), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := c.in(t)
			c.origin.HandleFunc(tc.path, tc.script)
			got := c.get(tc.path)
			if tc.ttl == "" {
				require.NotContains(t, cacheStatus(got), "stored")
				require.Equal(t, "answer 2", string(c.get(tc.path).Body))
				return
			}
			require.Regexp(t, "^edge; fwd=uri-miss; stored; ttl=("+tc.ttl+")$", cacheStatus(got))
			require.Equal(t, "answer 1", string(c.get(tc.path).Body))
		})
	}
	t.Run("bypass_cookie", func(t *testing.T) {
		c := c.in(t)
		c.origin.HandleFunc("/page", numbered(minute))
		c.requireAnswers("1 1 2 3 1 1", "/page", nil, nil, []string{"Cookie: session_x=1"}, []string{"Cookie: a=b; admin=1"}, []string{"Cookie: a=b"}, []string{"Cookie: administrator=1"})
		require.Equal(t, "edge; fwd=bypass; detail=cookie", cacheStatus(c.get("/page", "Cookie: admin=1")))
	})
	require.Equal(t, "edge; fwd=bypass; detail=rule", cacheStatus(c.get("/bypass/a")))
}

func TestNormalizedNegotiation(t *testing.T) {
	t.Parallel()
	c := startCached(t, "normalize_language en de fr")
	c.origin.HandleFunc("/page", func(r *origin.Request) origin.Reply {
		return text(r.Header.Get("Accept-Language")+" "+r.Header.Get("Accept-Encoding"), minute, "Vary: Accept-Language, Accept-Encoding")
	})
	for _, tc := range []struct{ language, encoding, want string }{
		{"de-DE,de;q=0.9,en;q=0.8", "gzip, deflate, br, zstd", "de br, gzip, zstd"},
		{"de", "br,zstd , gzip", "de br, gzip, zstd"},
		{"DE-at", "gzip;q=0, zstd;q=0.0, br", "de br"},
		{"ja", "identity", "en identity"},
		{"ja", "*", "en identity"},
		{"fr;q=0.2, en;q=0.1", "x-gzip", "fr gzip"},
		{"", "", "en identity"},
	} {
		got := c.get("/page", "Accept-Language: "+tc.language, "Accept-Encoding: "+tc.encoding)
		require.Equal(t, tc.want, string(got.Body))
	}
	c.requireArrived("/page", 4)
}

func TestDebugHeaders(t *testing.T) {
	t.Parallel()
	c := startCached(t, `debug_headers
			name "pop-1"
			status_header X-Cache-Status
			bypass /bypass`)
	c.origin.HandleFunc("/page", numbered(minute, "Age: 5"))
	c.origin.HandleFunc("/none", numbered("Cache-Control: no-store"))
	c.origin.HandleFunc("/bypass", numbered(minute))
	c.origin.HandleFunc("/expired", numbered(minute, staleMinute, `ETag: "1"`))
	c.origin.Handle("/error", origin.Reply{Raw: []byte{}, Ending: origin.Reset})
	require.Equal(t, "STORE", c.get("/page").Header.Get("X-Edge-Cache"))
	hit := c.get("/page")
	require.Equal(t, "HIT", hit.Header.Get("X-Edge-Cache"))
	require.Regexp(t, "^5[345]$", hit.Header.Get("X-Edge-Cache-TTL"))
	require.Regexp(t, "^[567]$", hit.Header.Get("X-Edge-Cache-Age"))
	require.Regexp(t, "^pop-1; hit; ttl=5[345]$", hit.Header.Get("X-Cache-Status"))
	require.Empty(t, cacheStatus(hit))
	require.Equal(t, "MISS", c.get("/none").Header.Get("X-Edge-Cache"))
	require.Equal(t, "BYPASS", c.get("/bypass").Header.Get("X-Edge-Cache"))
	require.Equal(t, "BYPASS", c.do(http.MethodPost, "/page", "x").Header.Get("X-Edge-Cache"))
	c.get("/expired")
	require.Equal(t, "EXPIRED", c.get("/expired").Header.Get("X-Edge-Cache"))
	require.Equal(t, "ERROR", c.get("/error").Header.Get("X-Edge-Cache"))
}

func TestDevelopmentMode(t *testing.T) {
	t.Parallel()
	c := startCached(t, "development 1h")
	c.origin.HandleFunc("/page", numbered(minute))
	c.requireAnswers("1 2 3", "/page", nil, nil, nil)
	require.Equal(t, "edge; fwd=bypass; detail=development", cacheStatus(c.get("/page")))
	require.NoError(t, c.Reload(cachedSite, harness.Vars{"options": "development 2020-01-01T00:00:00Z"}))
	c.requireAnswers("5 5", "/page", nil, nil)
}

func TestDeceptionArmorOff(t *testing.T) {
	t.Parallel()
	c := startCached(t, "deception_armor off")
	c.origin.HandleFunc("/page.css", func(r *origin.Request) origin.Reply {
		return origin.Reply{Headers: []string{minute, "Content-Type: text/html"}, Body: fmt.Appendf(nil, "answer %d", r.N)}
	})
	c.requireAnswers("1 1", "/page.css", nil, nil)
}

func TestMaxVariants(t *testing.T) {
	t.Parallel()
	c := startCached(t, "max_variants 2")
	c.origin.HandleFunc("/page", numbered(minute, "Vary: X-Kind"))
	kind := func(s string) []string { return []string{"X-Kind: " + s} }
	c.requireAnswers("1 2 1 2 3 3 2 4", "/page", kind("a"), kind("b"), kind("a"), kind("b"), kind("c"), kind("c"), kind("b"), kind("a"))
}

func TestInvalidOptionsAreRefused(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	for options, want := range map[string]string{
		"unknown 1":                "unknown",
		"ttl":                      "ttl",
		"ttl -5s":                  "ttl",
		"ttl soon":                 "ttl",
		"negative_ttl 1m 200":      "negative_ttl",
		"client_control sometimes": "client_control",
		"request_headers maybe":    "request_headers",
		"max_object_size big":      "max_object_size",
		"max_variants 0":           "max_variants",
		"purge_allow everyone":     "purge_allow",
		"development yesterday":    "development",
		"collapse maybe":           "collapse",
		"namespace \"a b\"":        "namespace",
		"name \"a b\"":             "name",
		"key {\nquery allow a\nquery ignore b\n}": "query",
		"rule {\nttl 1m\n}":                       "rule",
		"ttl 1m\nttl 2m":                          "ttl",
	} {
		t.Run(options, func(t *testing.T) {
			c := c.in(t)
			err := c.Reload(cachedSite, harness.Vars{"options": options})
			require.ErrorContains(t, err, "edge_cache")
			require.ErrorContains(t, err, want)
		})
	}
}
