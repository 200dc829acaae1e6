package integration

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// marker is what an attacker tries to get into the response of somebody else.
const marker = "evil.example"

// reflection is a cacheable page that repeats everything the origin got to see,
// the worst that an application can do.
func reflection(lines ...string) origin.Func {
	return func(r *origin.Request) origin.Reply {
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s\nHost: %s\n", r.Method, r.URI, r.Host)
		for _, name := range sortedNames(r.Header) {
			fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(r.Header[name], "|"))
		}
		fmt.Fprintf(&b, "\n%s", r.Body)
		return text(b.String(), append([]string{"Cache-Control: public, max-age=3600"}, lines...)...)
	}
}

func sortedNames(h http.Header) []string {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// requireUnpoisoned checks that a plain client gets nothing of an attacker from
// a path, and that the page is one that the cache stores: otherwise the attack
// would have failed for the wrong reason.
func (c *cachedEdge) requireUnpoisoned(path string, lines ...string) {
	c.t.Helper()
	for range 2 {
		got := c.get(path, lines...)
		require.Equal(c.t, http.StatusOK, got.Status, string(got.Body))
		require.NotContains(c.t, strings.ToLower(string(got.Body)), marker)
		for name, values := range got.Header {
			require.NotContains(c.t, strings.ToLower(strings.Join(values, " ")), marker, name)
		}
	}
	require.Contains(c.t, cacheStatus(c.get(path, lines...)), "edge; hit")
}

// unkeyedFields are request fields by which published attacks made an origin
// answer differently while the cache's key stayed the same.
var unkeyedFields = []string{
	"Forwarded: host=" + marker + ";proto=http",
	"X-Forwarded: " + marker,
	"X-Forwarded-By: " + marker,
	"X-Forwarded-Host: " + marker,
	"X-Forwarded-Path: /" + marker,
	"X-Forwarded-Port: 1" + marker,
	"X-Forwarded-Prefix: /" + marker,
	"X-Forwarded-Proto: " + marker,
	"X-Forwarded-Protocol: " + marker,
	"X-Forwarded-Scheme: " + marker,
	"X-Forwarded-Server: " + marker,
	"X-Forwarded-SSL: " + marker,
	"X-Forwarded-URI: /" + marker,
	"X-Forwarded-For: " + marker,
	"X-Host: " + marker,
	"X-HTTP-Host-Override: " + marker,
	"X-Original-Host: " + marker,
	"X-Original-URL: /" + marker,
	"X-Original-URI: /" + marker,
	"X-Rewrite-URL: /" + marker,
	"X-Override-URL: /" + marker,
	"X-Proxy-URL: http://" + marker,
	"X-HTTP-DestinationURL: http://" + marker,
	"X-Originating-URL: http://" + marker,
	"X-HTTP-Method: " + marker,
	"X-HTTP-Method-Override: " + marker,
	"X-Method-Override: " + marker,
	"X-URL-Scheme: " + marker,
	"X-Scheme: " + marker,
	"X-Backend-Host: " + marker,
	"X-Server-Name: " + marker,
	"Front-End-Https: " + marker,
	"X-WAP-Profile: http://" + marker + "/profile.xml",
	"Base-Url: http://" + marker,
	"Http-Url: http://" + marker,
	"Request-Uri: /" + marker,
	"Proxy-Host: " + marker,
	"Max-Forwards: " + marker,
	"X-Middleware-Prefetch: " + marker,
	"X-Middleware-Subrequest: " + marker,
	"X-Nextjs-Data: " + marker,
	"X-Invoke-Path: /" + marker,
	"X-Invoke-Status: " + marker,
	"X-Matched-Path: /" + marker,
	"X-Now-Route-Matches: " + marker,
	"Destination: http://" + marker,
	"X_Forwarded_Host: " + marker,
	"X-Forwarded_Host: " + marker,
	"Te: " + marker,
	"Trailer: " + marker,
	"Proxy-Connection: " + marker,
	"Keep-Alive: " + marker,
	"Expect: " + marker,
	"Upgrade-Insecure: 1",
	"If-None-Match: \"" + marker + "\"",
	"If-Match: \"" + marker + "\"",
	"If-Modified-Since: " + marker,
	"If-Unmodified-Since: " + marker,
	"If-Range: \"" + marker + "\"",
	"Accept-Encoding: " + marker,
	"Accept-Encoding: gzip;q=" + marker,
	"Accept-Encoding: gzip, " + marker,
}

func TestAttack_UnkeyedField(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	for i, line := range unkeyedFields {
		for _, proto := range []harness.Proto{harness.H1, harness.H2C} {
			name, _, _ := strings.Cut(line, ":")
			t.Run(name+" "+string(proto), func(t *testing.T) {
				c := c.in(t)
				if proto == harness.H2C && slices.Contains([]string{"Te", "Proxy-Connection", "Keep-Alive"}, name) {
					proto = harness.H1 // no client can send them over HTTP/2
				}
				path := fmt.Sprintf("/%s/%d", proto, i)
				c.origin.HandleFunc(path, reflection())
				req := c.request(http.MethodGet, path, line)
				// The client's library must not drop or add anything.
				if _, err := harness.Send(c.Client(proto), req); err != nil {
					require.ErrorContains(t, err, "invalid")
				}
				c.requireUnpoisoned(path)
				c.requireArrived(path, 1) // what the attacker was given is what all are given
			})
		}
	}
}

func TestAttack_UnkeyedFieldIsKeyedOnRequest(t *testing.T) {
	t.Parallel()
	c := startCached(t, "request_headers key")
	for i, line := range unkeyedFields {
		name, _, _ := strings.Cut(line, ":")
		t.Run(name, func(t *testing.T) {
			c := c.in(t)
			path := fmt.Sprintf("/%d", i)
			c.origin.HandleFunc(path, reflection())
			_, _ = harness.Send(c.Client(harness.H1), c.request(http.MethodGet, path, line))
			c.requireUnpoisoned(path)
		})
	}
}

func TestAttack_UnkeyedFieldDuringCollapse(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	client := c.Client(harness.H1)
	for i, line := range unkeyedFields {
		if strings.HasPrefix(line, "Expect:") || strings.HasPrefix(line, "If-Match") {
			continue // refused before the cache, or answered by 412
		}
		name, _, _ := strings.Cut(line, ":")
		t.Run(name, func(t *testing.T) {
			c := c.in(t)
			path := fmt.Sprintf("/%d", i)
			gate := origin.NewGate()
			c.origin.HandleFunc(path, func(r *origin.Request) origin.Reply {
				reply := reflection()(r)
				reply.HoldHeader = gate
				return reply
			})
			attacker := sendTogether(t, client, 1, func(int) *http.Request { return c.request(http.MethodGet, path, line) })
			c.origin.WaitArrived(t, path, 1)
			victim := sendTogether(t, client, 1, func(int) *http.Request { return c.request(http.MethodGet, path) })
			gate.Open()
			attacker.wait()
			got := victim.responses()[0]
			require.Equal(t, http.StatusOK, got.Status)
			require.NotContains(t, strings.ToLower(string(got.Body)), marker)
			c.requireUnpoisoned(path)
		})
	}
}

// A client names end-to-end fields as its connection's own, so that a proxy
// drops what the origin would have seen.
func TestAttack_ConnectionNominatesFields(t *testing.T) {
	t.Parallel()
	c := startCaddyfile(t, `
		{{http "site"}} {
			request_header X-Set-At-The-Edge yes
			edge_cache
			reverse_proxy {{.origin}}
		}
	`, nil)
	for i, nominated := range []string{
		"X-Set-At-The-Edge", "Cookie", "Authorization", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
		"Cache-Control", "Host", "Accept-Encoding", "Via", "close, X-Set-At-The-Edge", "keep-alive, X-Set-At-The-Edge",
	} {
		t.Run(nominated, func(t *testing.T) {
			c := c.in(t)
			path := fmt.Sprintf("/%d", i)
			c.origin.HandleFunc(path, reflection())
			_, _, err := c.raw("GET " + path + " HTTP/1.1\r\nHost: SITE\r\nConnection: close, " + nominated + "\r\n\r\n")
			require.NoError(t, err)
			got := c.get(path)
			require.Contains(t, string(got.Body), "X-Set-At-The-Edge: yes")
			require.Contains(t, string(got.Body), "X-Forwarded-Host: ")
			require.Contains(t, string(got.Body), "X-Forwarded-Proto: http")
		})
	}
	c.origin.HandleFunc("/hop", reflection())
	resp, reply, err := c.raw("GET /hop HTTP/1.1\r\nHost: SITE\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\r\n")
	require.NoError(t, err)
	require.Contains(t, reply, "X-Set-At-The-Edge: yes")
	require.NotContains(t, reply, "X-Hop: 1", "it was for this hop alone")
	require.Equal(t, "edge; fwd=bypass; detail=connection", resp.Header.Get("Cache-Status"))
}

// The proxy tells the origin who asks, in a field that no client sends: a response
// that varies on it is for nobody else.
func TestAttack_VaryOnWhatTheProxySets(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.Handle("/page", text("hello", minute, "Vary: X-Forwarded-For"))
	for range 2 {
		require.Equal(t, "edge; fwd=uri-miss; detail=vary-star", cacheStatus(c.get("/page")))
	}
}

// Behind a trusted proxy the fields that it sets are true, and what the origin
// is told of them must be in the key.
func TestAttack_ThroughATrustedProxy(t *testing.T) {
	t.Parallel()
	c := startCaddyfile(t, `
		{
			servers {
				trusted_proxies static 127.0.0.1/32
			}
		}
		{{http "site"}} {
			edge_cache
			reverse_proxy {{.origin}}
		}
	`, nil)
	for i, line := range unkeyedFields {
		if strings.HasPrefix(line, "X-Forwarded-For:") {
			continue // says who asks, and is passed on for the log
		}
		name, _, _ := strings.Cut(line, ":")
		t.Run(name, func(t *testing.T) {
			c := c.in(t)
			path := fmt.Sprintf("/%d", i)
			c.origin.HandleFunc(path, reflection())
			_, _ = harness.Send(c.Client(harness.H1), c.request(http.MethodGet, path, line))
			c.requireUnpoisoned(path)
		})
	}
	t.Run("another host is another page", func(t *testing.T) {
		c := c.in(t)
		c.origin.HandleFunc("/host", reflection())
		for _, host := range []string{"a.example", "b.example"} {
			for range 2 {
				got := c.get("/host", "X-Forwarded-Host: "+host)
				require.Contains(t, string(got.Body), "X-Forwarded-Host: "+host)
			}
		}
		c.requireArrived("/host", 2)
	})
	t.Run("no redirect loop", func(t *testing.T) {
		c := c.in(t)
		c.origin.HandleFunc("/loop", func(r *origin.Request) origin.Reply {
			if r.Header.Get("X-Forwarded-Proto") == "https" {
				return text("secure", minute)
			}
			return origin.Reply{Status: 301, Headers: []string{minute, "Location: https://example.com/loop"}}
		})
		require.Equal(t, 301, c.get("/loop", "X-Forwarded-Proto: http").Status)
		require.Equal(t, "secure", string(c.get("/loop", "X-Forwarded-Proto: https").Body))
		require.Equal(t, 301, c.get("/loop", "X-Forwarded-Proto: http").Status)
	})
}

// Strict mode: nothing but what the operator names reaches the origin.
func TestAttack_UnknownFieldInStrictMode(t *testing.T) {
	t.Parallel()
	c := startCached(t, `allow_headers X-Known
			key {
				header X-Known
			}`)
	for i, name := range []string{
		"X-Anything", "Origin", "Referer", "X-Requested-With", "True-Client-Ip", "X-Real-Ip", "Client-Ip",
		"Cf-Connecting-Ip", "X-Api-Version", "Rsc", "Purpose", "Dnt", "Range-Unit", "X-Http-Status-Code-Override",
	} {
		t.Run(name, func(t *testing.T) {
			c := c.in(t)
			path := fmt.Sprintf("/%d", i)
			c.origin.HandleFunc(path, reflection())
			c.get(path, name+": "+marker)
			c.requireUnpoisoned(path)
		})
	}
	c.origin.HandleFunc("/known", reflection())
	require.Contains(t, string(c.get("/known", "X-Known: a").Body), "X-Known: a")
	require.Contains(t, string(c.get("/known", "X-Known: b").Body), "X-Known: b")
	require.NotContains(t, string(c.get("/known").Body), "X-Known")
}
