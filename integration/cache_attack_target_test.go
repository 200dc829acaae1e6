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

// rawGet returns a request with a target and header lines exactly as given.
func rawGet(target string, lines ...string) string {
	return "GET " + target + " HTTP/1.1\r\n" + strings.Join(append(lines, "Connection: close"), "\r\n") + "\r\n\r\n"
}

// What the origin was asked for is what the client asked for: two targets that
// an origin may tell apart never share a response.
func TestAttack_TargetsNeverShareAResponse(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.HandleFunc("/*", reflection())
	c.origin.HandleFunc("*", reflection())
	for _, attack := range []string{
		// the same page after a normalisation that only one side does
		"/page/", "//page", "/./page", "/x/../page", "/%70age", "/PAGE", "/page%20", "/page%00", "/page%0a", "/page%0d%0aX-A:%20b",
		"/page%3f", "/page%3Fa=1", "/page%23", "/page%2f", "/page%2F", "/%2e/page", "/x/%2e%2e/page", "/x/..%2fpage", "/x/..;/page",
		"/page;a=1", "/page;", "/page;.css", "/page%3b", "/page.css", "/page/.css", "/page/x.css", "/page%2fx.css", "/page%00.css",
		"/page%0a.css", "/page%09.css", "/page%3f.css", "/page%23.css", "/page~", "/page.", "/page..", "/page%5c", "/%5cpage", "/page%5c..%5cpage",
		"/page%c0%af", "/page%e2%80%8b", "/page%ff", "/page%252f", "/page+", "/page%2b", "/page,", "/page:80", "/page@evil", "/page|", "/page^",
		// the query
		"/page?", "/page?a", "/page?a=", "/page?a=1", "/page?a=1&a=2", "/page?a=2&a=1", "/page?a=1&b=2", "/page?b=2&a=1", "/page?a=1;b=2",
		"/page?a=1&", "/page?&a=1", "/page?a=1&&b=2", "/page?%61=1", "/page?a=%31", "/page?A=1", "/page?a[]=1", "/page?a%5b%5d=1", "/page?a=1%26b=2",
		"/page?a=1%23", "/page?a=1?b=2", "/page?a=+", "/page?a=%20", "/page?_method=DELETE", "/page?a=%00", "/page?a=%01",
		// the separators of a key
		"/page%01", "/page%02header=x", "/page?%00%01/page", "/page%00%05Accept=x", "/http/127.0.0.1/page", "/page?http://127.0.0.1/page",
		"/page%7c", "/page%1f", "/page\x7f", "/page?\x7f",
	} {
		t.Run(attack, func(t *testing.T) {
			c := c.in(t)
			resp, body, err := c.raw(rawGet(attack, "Host: SITE"))
			require.NoError(t, err)
			if resp.StatusCode == http.StatusBadRequest {
				return // refused before anything was asked for
			}
			require.Equal(t, http.StatusOK, resp.StatusCode)
			line, _, _ := strings.Cut(body, "\n")
			want := strings.NewReplacer("|", "%7C", "^", "%5E").Replace(attack)
			require.Equal(t, "GET "+want, line, "the origin sees the target as it was sent")
			_, again, err := c.raw(rawGet(attack, "Host: SITE"))
			require.NoError(t, err)
			require.Equal(t, body, again)
		})
	}
	line, _, _ := strings.Cut(string(c.get("/page").Body), "\n")
	require.Equal(t, "GET /page", line)
}

// However a client writes host and target, others get the page of their own.
func TestAttack_HostForms(t *testing.T) {
	t.Parallel()
	c := startCaddyfile(t, `
		{
			servers {
				protocols h1 h2c
			}
		}
		:{{port "any"}} {
			edge_cache
			reverse_proxy {{.origin}}
		}
		{{http "site"}} {
			edge_cache
			reverse_proxy {{.origin}}
		}
	`, nil)
	for i, tc := range []struct{ name, target, host string }{
		{"other port", "%s", "127.0.0.1:1"},
		{"default port", "%s", "127.0.0.1:80"},
		{"empty port", "%s", "127.0.0.1:"},
		{"port with zeros", "%s", "127.0.0.1:00080"},
		{"absolute form", "http://SITE%s", "SITE"},
		{"absolute form, other host", "http://SITE%s", marker},
		{"absolute form, https", "https://SITE%s", "SITE"},
		{"absolute form, upper case", "HTTP://SITE%s", marker},
		{"absolute form, port", "http://127.0.0.1:1%s", "SITE"},
		{"absolute form, user", "http://" + marker + "@SITE%s", "SITE"},
		{"user in host", "%s", marker + "@SITE"},
		{"comma", "%s", "SITE, " + marker},
		{"space", "%s", "SITE " + marker},
		{"slash", "%s", "SITE/" + marker},
		{"query", "%s", "SITE?" + marker},
		{"hash", "%s", "SITE#" + marker},
		{"backslash", "%s", `SITE\` + marker},
		{"tab", "%s", "SITE\t" + marker},
		{"trailing dot", "%s", "127.0.0.1."},
		{"percent", "%s", "SITE%00" + marker},
		{"empty", "%s", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := c.in(t)
			path := fmt.Sprintf("/%d", i)
			c.origin.HandleFunc(path, reflection())
			_, _, _ = c.raw(rawGet(fmt.Sprintf(tc.target, path), "Host: "+tc.host))
			c.requireUnpoisoned(path)
			body := string(c.get(path).Body)
			line, rest, _ := strings.Cut(body, "\n")
			require.Equal(t, "GET "+path, line)
			require.True(t, strings.HasPrefix(rest, "Host: "+c.host()+"\n"), rest)
		})
	}
	t.Run("two hosts", func(t *testing.T) {
		c := c.in(t)
		resp, _, err := c.raw("GET /two HTTP/1.1\r\nHost: SITE\r\nHost: " + marker + "\r\nConnection: close\r\n\r\n")
		require.NoError(t, err)
		require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	})
}

// However a client spells the host's letters, it is one host in the key, and the origin
// sees one spelling.
func TestAttack_CaseOfTheHost(t *testing.T) {
	t.Parallel()
	c := startCaddyfile(t, `
		{{http "site"}}, http://:{{port "site"}} {
			edge_cache
			reverse_proxy {{.origin}}
		}
	`, nil)
	_, port, _ := strings.Cut(c.host(), ":")
	c.origin.HandleFunc("/case", reflection())
	for i, host := range []string{"Shop.EXAMPLE", "SHOP.example", "shop.example"} {
		resp, body, err := c.raw(rawGet("/case", "Host: "+host+":"+port))
		require.NoError(t, err)
		require.Contains(t, body, "Host: shop.example:"+port+"\n")
		require.Equal(t, i > 0, strings.HasPrefix(resp.Header.Get("Cache-Status"), "edge; hit"), host)
	}
	c.requireArrived("/case", 1)
}

// Options that leave parameters out of the key leave them out of what is
// forwarded, however they are written.
func TestAttack_UnkeyedParameters(t *testing.T) {
	t.Parallel()
	c := startCached(t, `key {
				query ignore tracking callback
			}`)
	for i, query := range []string{
		"utm_source=" + marker, "utm_content=" + marker, "UTM_x=1&utm_x=" + marker, "gclid=" + marker, "fbclid=" + marker,
		"callback=" + marker, "callback=a&callback=" + marker, "%63allback=" + marker, "callback%3d=1&callback=" + marker,
		"utm_source=x%26id=" + marker, "utm_source=" + marker + "&utm_medium=" + marker, "callback", "callback=" + marker + "%00",
		"&callback=" + marker, "callback=" + marker + "&", "callback=" + marker + "%0d%0aX-Injected:1", "utm_%73ource=" + marker,
	} {
		t.Run(query, func(t *testing.T) {
			c := c.in(t)
			path := fmt.Sprintf("/%d", i)
			c.origin.HandleFunc(path, reflection())
			_, body, err := c.raw(rawGet(path+"?"+query, "Host: SITE"))
			require.NoError(t, err)
			if strings.HasPrefix(query, "UTM_x") {
				require.Contains(t, body, "GET "+path+"?UTM_x=1\n")
			} else {
				require.NotContains(t, body, marker)
			}
			c.requireUnpoisoned(path)
		})
	}
	// A parameter hidden behind a separator that only the origin knows is not
	// ignored as part of a tracking parameter and read by the origin: either it
	// is keyed, or it does not get there.
	for i, query := range []string{
		"utm_source=x;id=" + marker, "id=1;utm_source=" + marker, "utm_source;id=" + marker, "callback=a;callback=" + marker,
		"a=1;callback=" + marker, "utm_source=x%3bid=" + marker, "id=1&utm_source=x;id=" + marker, "callback[]=" + marker, "id=1&id=" + marker,
		"callback%00=" + marker, "callback =" + marker, "callback%20=" + marker, "+callback=" + marker, "callback.x=" + marker,
	} {
		t.Run(query, func(t *testing.T) {
			c := c.in(t)
			path := fmt.Sprintf("/cloak/%d", i)
			c.origin.HandleFunc(path, reflection())
			_, _, _ = c.raw(rawGet(path+"?"+query, "Host: SITE"))
			c.requireUnpoisoned(path)
			c.requireUnpoisoned(path + "?id=1")
		})
	}
}

func TestAttack_UnkeyedParametersWithAllowAndNone(t *testing.T) {
	t.Parallel()
	for name, option := range map[string]string{"allow": "query allow id", "none": "query none"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startCached(t, "key {\n"+option+"\n}")
			for i, query := range []string{
				"x=" + marker, "x=" + marker + "&y=1", "%78=" + marker, "i%64x=" + marker, "ID=" + marker, "id;x=" + marker, "_=" + marker,
			} {
				path := fmt.Sprintf("/%d", i)
				c.origin.HandleFunc(path, reflection())
				_, _, _ = c.raw(rawGet(path+"?"+query, "Host: SITE"))
				c.requireUnpoisoned(path)
				c.requireUnpoisoned(path + "?id=1")
			}
		})
	}
}

// A body in a GET request never decides what others get.
func TestAttack_FatGET(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	for name, request := range map[string]string{
		"length":          "Content-Length: 12\r\n\r\n" + marker,
		"form":            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 12\r\n\r\n" + marker,
		"chunked":         "Transfer-Encoding: chunked\r\n\r\nc\r\n" + marker + "\r\n0\r\n\r\n",
		"chunked, expect": "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n" + marker + "\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := c.in(t)
			path := "/" + harnessPath(name)
			c.origin.HandleFunc(path, reflection())
			resp, _, err := c.raw("GET " + path + " HTTP/1.1\r\nHost: SITE\r\n" + request)
			require.NoError(t, err)
			require.NotContains(t, resp.Header.Get("Cache-Status"), "stored")
			require.Zero(t, c.stats().Entries)
			c.requireUnpoisoned(path)
			c.Admin(http.MethodPost, "/edge/cache/purge-all", nil)
			poll(t, "the purge is swept", func() bool {
				status, _ := c.Admin(http.MethodPost, "/edge/cache/purge", map[string]string{"url": "http://x/"})
				return status == http.StatusOK && c.stats().Entries == 0
			})
		})
	}
}

// Web cache deception: a private page under the name of a static file.
func TestAttack_Deception(t *testing.T) {
	t.Parallel()
	c := startCached(t, "ttl 1h")
	c.origin.HandleFunc("/account*", func(r *origin.Request) origin.Reply {
		return origin.Reply{
			Headers: []string{"Content-Type: text/html; charset=utf-8", minute},
			Body:    []byte("account of " + r.Header.Get("Cookie")),
		}
	})
	for _, path := range []string{
		"/account/x.css", "/account.css", "/account/x.js", "/account;x.css", "/account%2fx.css", "/account%3bx.css", "/account%0ax.css",
		"/account/x.png", "/account/x.JPG", "/account/x.woff2", "/account/x.ico", "/account/x.pdf", "/account/x.svg", "/account/x.mp4",
		"/account/..%2fstatic%2fx.css", "/account//x.gif", "/account/x.css?y=1", "/account/a/b/c.webp", "/account%23x.css",
	} {
		t.Run(path, func(t *testing.T) {
			c := c.in(t)
			_, victim, err := c.raw(rawGet(path, "Host: SITE", "Cookie: session=victim"))
			require.NoError(t, err)
			require.Contains(t, victim, "session=victim")
			_, attacker, err := c.raw(rawGet(path, "Host: SITE"))
			require.NoError(t, err)
			require.NotContains(t, attacker, "victim")
		})
	}
	require.Zero(t, c.stats().Entries)
}

// Rules that name folders or files do not bring a private page under such a name into the
// store: who is logged in has a cookie, and what a rule matches is the path that it is.
func TestAttack_DeceptionWithRules(t *testing.T) {
	t.Parallel()
	paths := []string{
		"/static/..%2faccount", "/static/..%2Faccount", "/static/%2e%2e/account", "/static/%2e%2e%2faccount", "/static/../account", "/static/..;/account",
		"/static/x/..%2f..%2faccount", "/static//..%2faccount", "/static/..%5caccount", "/account/..%2fstatic/x", "/account/%2e%2e/static/x", "/account%2f..%2fstatic%2fx",
		"/app.css%2f..%2faccount", "/app.css/..%2faccount", "/app.css/../account", "/account/..%2fapp.css", "/account/%2e%2e/app.css", "/account;/../app.css",
		"/app.css%3f/../account", "/robots.txt%2f%2e%2e%2faccount", "/robots.txt/..%2faccount", "/account/..%2frobots.txt", "/account%2f%2e%2e%2frobots.txt",
		"/static/x.html", "/account", "/robots.txt",
	}
	const rules = `
		rule /static/* {
			ttl 1h
		}
		rule /app.css {
			ttl 1h
		}
		rule /robots.txt {
			ttl 1h
		}
	`
	for _, test := range []struct{ name, front, options string }{
		{"rules", "", rules},
		{"rules and bypass_cookie", "", rules + "bypass_cookie session"},
		{"rules, and a guard in front", "edge_guard", rules},
		{"rules and other cookies named, with a guard in front", "edge_guard", strings.ReplaceAll(rules, "/static/*", "/assets/*") + "bypass_cookie other"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := startCaddyfile(t, `
				{{http "site"}} {
					{{.front}}
					edge_cache {
						{{.options}}
					}
					reverse_proxy {{.origin}}
				}
			`, harness.Vars{"front": test.front, "options": test.options})
			account := func(r *origin.Request) origin.Reply {
				return origin.Reply{Headers: []string{"Content-Type: text/html; charset=utf-8"}, Body: []byte("account of " + r.Header.Get("Cookie"))}
			}
			c.origin.HandleFunc("/*", account)
			for _, path := range paths {
				if test.front != "" && path == "/robots.txt" {
					continue // such a file is not made for a session, and the operator has said so
				}
				_, _, err := c.raw(rawGet(path, "Host: SITE", "Cookie: session=victim"))
				require.NoError(t, err)
				_, attacker, err := c.raw(rawGet(path, "Host: SITE"))
				require.NoError(t, err)
				require.NotContains(t, attacker, "victim", path)
			}
		})
	}
}
