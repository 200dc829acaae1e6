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

// Denial of service through the cache: a request that makes the origin fail
// must not take the page away from others.
func TestAttack_CachedDenialOfService(t *testing.T) {
	t.Parallel()
	c := startCached(t, "ttl 1h")
	for name, lines := range oddRequests() {
		t.Run(name, func(t *testing.T) {
			c := c.in(t)
			path := "/" + harnessPath(name)
			c.origin.HandleFunc(path, picky())
			_, _, _ = c.raw(rawGet(path, append([]string{"Host: SITE"}, lines...)...))
			for range 2 {
				got := c.get(path)
				require.Equal(t, http.StatusOK, got.Status)
				require.Equal(t, "fine", string(got.Body))
			}
		})
	}
}

// picky is an origin that fails for what it does not like, as real ones do, and says so
// with the given header lines.
func picky(lines ...string) origin.Func {
	fail := func(r *origin.Request) origin.Reply {
		for name, values := range r.Header {
			value := strings.Join(values, ",")
			switch {
			case len(value) > 2000 || len(r.Header) > 60:
				return origin.Reply{Status: 431, Headers: []string{"Content-Type: text/html"}, Body: []byte("too large")}
			case strings.ContainsAny(value, "\x01\x07\x08") || strings.Contains(value, "${jndi"):
				return origin.Reply{Status: 400, Body: []byte("bad character in " + name)}
			case name == "X-Http-Method-Override" && value != "GET":
				return origin.Reply{Status: 405, Body: []byte("method")}
			case name == "X-Blocked" || name == "User-Agent" && value == "scanner":
				return origin.Reply{Status: 403, Body: []byte("firewall")}
			case name == "X-Broken":
				return origin.Reply{Status: 500, Body: []byte("oops")}
			case name == "X-Moved":
				return origin.Reply{Status: 302, Headers: []string{"Location: http://" + marker}}
			case name == "X-Missing":
				return origin.Reply{Status: 404, Body: []byte("missing")}
			case name == "Range":
				return origin.Reply{Status: 416, Headers: []string{"Content-Range: bytes */5"}}
			case name == "Authorization":
				return origin.Reply{Status: 401, Headers: []string{"WWW-Authenticate: Basic"}}
			case name == "Accept" && value == "x/y":
				return origin.Reply{Status: 406}
			case name == "Expect":
				return origin.Reply{Status: 417}
			}
		}
		return text("fine")
	}
	return func(r *origin.Request) origin.Reply {
		reply := fail(r)
		if reply.Status != 0 {
			reply.Headers = append(reply.Headers, lines...)
		}
		return reply
	}
}

// oddRequests are header lines that picky dislikes, and some that it does not.
func oddRequests() map[string][]string {
	var many []string
	for i := range 70 {
		many = append(many, fmt.Sprintf("X-Many-%d: 1", i))
	}
	return map[string][]string{
		"oversized header":       {"X-Oversized: " + strings.Repeat("a", 8000)},
		"many headers":           many,
		"meta character bell":    {"X-Meta: a\x07b"},
		"meta character 1":       {"X-Meta: a\x01b"},
		"meta character bs":      {"X-Meta: a\x08b"},
		"method override":        {"X-HTTP-Method-Override: POST"},
		"method override delete": {"X-HTTP-Method-Override: DELETE"},
		"blocked user agent":     {"User-Agent: scanner"},
		"blocked field":          {"X-Blocked: 1"},
		"jndi":                   {"X-Log: ${jndi:ldap://" + marker + "}"},
		"error 500":              {"X-Broken: 1"},
		"redirect":               {"X-Moved: 1"},
		"not found":              {"X-Missing: 1"},
		"range":                  {"Range: bytes=9000000-"},
		"range small":            {"Range: bytes=9-1"},
		"unauthorized":           {"Authorization: Basic wrong"},
		"not acceptable":         {"Accept: x/y"},
		"expectation":            {"Expect: 200-maybe"},
		"content type":           {"Content-Type: invalid"},
		"cookie too large":       {"Cookie: a=" + strings.Repeat("a", 5000)},
		"language":               {"Accept-Language: " + strings.Repeat("a", 5000)},
		"if-none-match":          {`If-None-Match: *`},
		"if-match":               {`If-Match: "nothing"`},
		"if-unmodified-since":    {"If-Unmodified-Since: Mon, 01 Jan 1990 00:00:00 GMT"},
		"upgrade":                {"Connection: Upgrade", "Upgrade: h2c"},
		"event stream":           {"Accept: text/event-stream"},
		"te":                     {"TE: trailers"},
	}
}

// What an origin says of a failure with a lifetime of its own, or a status for which the
// operator has set one, is stored. What a client can do with that is what docs/security.md
// says, no more, and the options that it names close it.
func TestAttack_ErrorsWithLifetime(t *testing.T) {
	t.Parallel()
	byField := []string{"blocked field", "jndi", "error 500", "redirect", "not found"}
	usual := []string{"blocked user agent", "not acceptable"}
	for _, test := range []struct {
		name, options string
		lines         []string
		stored        []string // the attacks whose failure others get
	}{
		{"the origin's word", "", []string{"Cache-Control: max-age=60"}, append(usual, byField...)},
		{"strict", "allow_headers X-Needed", []string{"Cache-Control: max-age=60"}, usual},
		{"strict and in the key", "allow_headers X-Needed\nkey {\nheader User-Agent Accept\n}", []string{"Cache-Control: max-age=60"}, nil},
		{"in the key", "key {\nheader User-Agent Accept X-Blocked X-Log X-Broken X-Moved X-Missing\n}", []string{"Cache-Control: max-age=60"}, nil},
		{"with Vary", "", []string{"Cache-Control: max-age=60", "Vary: User-Agent, Accept, X-Blocked, X-Log, X-Broken, X-Moved, X-Missing"}, nil},
		{"no lifetime", "", nil, nil},
		{"negative_ttl", "negative_ttl 1m 404 410", nil, []string{"not found"}},
		{"negative_ttl, strict", "negative_ttl 1m 404 410\nallow_headers X-Needed", nil, nil},
		{"negative_ttl for all statuses that are said to be unwise", "negative_ttl 1m 400 403 404 405 406 431 500", nil,
			append(usual, "blocked field", "jndi", "error 500", "not found")},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := startCached(t, test.options)
			var stored []string
			for name, lines := range oddRequests() {
				path := "/" + harnessPath(name)
				c.origin.HandleFunc(path, picky(test.lines...))
				_, _, _ = c.raw(rawGet(path, append([]string{"Host: SITE"}, lines...)...))
				if got := c.get(path); string(got.Body) != "fine" {
					stored = append(stored, name)
				}
			}
			require.ElementsMatch(t, test.stored, stored)
		})
	}
}

// An origin whose page depends on a field that it does not name in Vary is believed when it
// gives a lifetime. Each of the options that are there for it closes that.
func TestAttack_ReflectedFieldsOfTheRequest(t *testing.T) {
	t.Parallel()
	fields := []string{"Cookie", "User-Agent", "Origin", "Referer", "Accept", "X-Requested-With", "X-Unknown"}
	all := strings.Join(fields, " ")
	var remove, matchers strings.Builder
	for i, name := range fields {
		fmt.Fprintf(&remove, "request_header -%s\n", name)
		fmt.Fprintf(&matchers, "@field%d header %s *%s*\n", i, name, marker)
	}
	for _, test := range []struct {
		name, front, options string
		lines                []string
		shown                []string
	}{
		{"the origin's word", "", "", nil, fields},
		{"Vary", "", "", []string{"Vary: " + strings.Join(fields, ", ")}, nil},
		{"key header", "", "key {\nheader " + all + "\n}", nil, nil},
		{"strict", "", "allow_headers X-Needed", nil, []string{"Cookie", "User-Agent", "Accept"}},
		{"strict, the usual ones in the key", "", "allow_headers X-Needed\nkey {\nheader Cookie User-Agent Accept\n}", nil, nil},
		{"removed in front", remove.String(), "", nil, nil},
		{"bypass", matchers.String(), "bypass @field0\nbypass @field1\nbypass @field2\nbypass @field3\nbypass @field4\nbypass @field5\nbypass @field6", nil, nil},
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
			var shown []string
			for _, name := range fields {
				path := "/" + strings.ToLower(name)
				c.origin.HandleFunc(path, reflection(test.lines...))
				c.get(path, name+": a="+marker)
				if got := c.get(path); strings.Contains(string(got.Body), marker) {
					shown = append(shown, name)
				}
			}
			require.ElementsMatch(t, test.shown, shown)
		})
	}
}

// A response that is one client's own is never shown to another one.
func TestAttack_PrivateResponses(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	for name, tc := range map[string]struct{ request, response []string }{
		"authorization":                 {[]string{"Authorization: Bearer secret"}, []string{minute}},
		"authorization, max-age":        {[]string{"Authorization: Bearer secret"}, []string{"Cache-Control: max-age=60, immutable"}},
		"authorization, expires":        {[]string{"Authorization: Bearer secret"}, []string{"Expires: Fri, 01 Jan 2100 00:00:00 GMT"}},
		"set-cookie":                    {nil, []string{minute, "Set-Cookie: session=secret"}},
		"set-cookie, public":            {nil, []string{"Cache-Control: public, max-age=60", "Set-Cookie: session=secret"}},
		"private":                       {nil, []string{"Cache-Control: private, max-age=60"}},
		"private, public":               {nil, []string{"Cache-Control: public, private, max-age=60"}},
		"PRIVATE":                       {nil, []string{"Cache-Control: PRIVATE, max-age=60"}},
		"private in a second line":      {nil, []string{"Cache-Control: max-age=60", "Cache-Control: private"}},
		"private, quoted":               {nil, []string{`Cache-Control: private="", max-age=60`}},
		"no-store":                      {nil, []string{"Cache-Control: no-store, max-age=60"}},
		"no-store in a second line":     {nil, []string{"Cache-Control: public, max-age=60", "Cache-Control: no-store"}},
		"no-store after a comma":        {nil, []string{"Cache-Control: max-age=60,,no-store"}},
		"no-store with value":           {nil, []string{"Cache-Control: max-age=60, no-store=1"}},
		"contradicting max-age":         {nil, []string{"Cache-Control: max-age=60, max-age=0"}},
		"s-maxage 0":                    {nil, []string{"Cache-Control: max-age=60, s-maxage=0"}},
		"negative max-age":              {nil, []string{"Cache-Control: max-age=-60"}},
		"max-age quoted text":           {nil, []string{`Cache-Control: max-age="abc"`}},
		"expires in the past":           {nil, []string{"Expires: Thu, 01 Jan 1970 00:00:00 GMT"}},
		"expires 0":                     {nil, []string{"Expires: 0"}},
		"vary star":                     {nil, []string{minute, "Vary: *"}},
		"vary star in a list":           {nil, []string{minute, "Vary: Accept, *"}},
		"vary cookie":                   {[]string{"Cookie: session=secret"}, []string{minute, "Vary: Cookie"}},
		"vary authorization":            {[]string{"Authorization: secret"}, []string{"Cache-Control: public, max-age=60", "Vary: Authorization"}},
		"targeted private":              {nil, []string{minute, "CDN-Cache-Control: private"}},
		"targeted no-store":             {nil, []string{minute, "CDN-Cache-Control: no-store"}},
		"own no-store":                  {nil, []string{minute, "Edge-Cache-Control: no-store"}},
		"json without freshness":        {[]string{"Cookie: session=secret"}, []string{"Content-Type: application/json"}},
		"etag without freshness":        {[]string{"Cookie: session=secret"}, []string{`ETag: "1"`}},
		"modified without freshness":    {[]string{"Cookie: session=secret"}, []string{"Last-Modified: " + modified}},
		"no-cache with cookie":          {[]string{"Cookie: session=secret"}, []string{"Cache-Control: no-cache", `ETag: "1"`}},
		"no-cache, authorization":       {[]string{"Authorization: Bearer secret"}, []string{"Cache-Control: no-cache", `ETag: "1"`}},
		"partial":                       {[]string{"Range: bytes=3000000-"}, []string{minute, "Content-Range: bytes 3000000-3000009/9000000"}},
		"already stale":                 {nil, []string{minute, "Age: 61"}},
		"must-understand with no-store": {nil, []string{"Cache-Control: no-store, max-age=60"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.in(t)
			path := "/" + harnessPath(name)
			c.origin.HandleFunc(path, func(r *origin.Request) origin.Reply {
				if r.N > 1 {
					if r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Modified-Since") != "" {
						return origin.Reply{Status: 304, Headers: tc.response}
					}
					return text("public page", "Cache-Control: no-store")
				}
				reply := text("secret page", tc.response...)
				if r.Header.Get("Range") != "" {
					reply.Status = http.StatusPartialContent
				}
				return reply
			})
			require.Equal(t, "secret page", string(c.get(path, tc.request...).Body))
			for _, lines := range [][]string{nil, {"Cookie: session=other"}, {"Authorization: Bearer other"}} {
				got := c.get(path, lines...)
				require.Equal(t, http.StatusOK, got.Status)
				require.Equal(t, "public page", string(got.Body))
				require.Empty(t, got.Header.Get("Set-Cookie"))
			}
		})
	}
}

// What one request asks for and how does not change what the next one gets.
func TestAttack_RequestFormsDoNotPoison(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	body := string(origin.Pattern(5000))
	honest := func(r *origin.Request) origin.Reply {
		lines := []string{minute, `ETag: "1"`, "Last-Modified: " + modified, "Vary: Accept-Encoding"}
		switch {
		case r.Header.Get("Range") != "":
			return origin.Reply{Status: 206, Headers: append(lines, "Content-Range: bytes 0-9/5000"), Body: []byte(body[:10])}
		case r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Modified-Since") != "":
			return origin.Reply{Status: 304, Headers: lines}
		case strings.Contains(r.Header.Get("Accept-Encoding"), "gzip"):
			return text("compressed", append(lines, "Content-Encoding: gzip")...)
		}
		return text(body, lines...)
	}
	for name, request := range map[string]string{
		"range":               "GET %s HTTP/1.1\r\nRange: bytes=0-9\r\n",
		"range far":           "GET %s HTTP/1.1\r\nRange: bytes=2000000-2000009\r\n",
		"range suffix":        "GET %s HTTP/1.1\r\nRange: bytes=-10\r\n",
		"range several":       "GET %s HTTP/1.1\r\nRange: bytes=0-9,20-29\r\n",
		"range broken":        "GET %s HTTP/1.1\r\nRange: bytes=a-b\r\n",
		"range twice":         "GET %s HTTP/1.1\r\nRange: bytes=0-9\r\nRange: bytes=1-2\r\n",
		"range overlapping":   "GET %s HTTP/1.1\r\nRange: bytes=" + strings.Repeat("0-,", 200) + "0-\r\n",
		"none match":          "GET %s HTTP/1.1\r\nIf-None-Match: \"1\"\r\n",
		"none match star":     "GET %s HTTP/1.1\r\nIf-None-Match: *\r\n",
		"modified since":      "GET %s HTTP/1.1\r\nIf-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n",
		"head":                "HEAD %s HTTP/1.1\r\n",
		"head with range":     "HEAD %s HTTP/1.1\r\nRange: bytes=0-9\r\n",
		"options":             "OPTIONS %s HTTP/1.1\r\n",
		"post":                "POST %s HTTP/1.1\r\nContent-Length: 0\r\n",
		"unknown method":      "FOO %s HTTP/1.1\r\n",
		"lower case get":      "get %s HTTP/1.1\r\n",
		"trace":               "TRACE %s HTTP/1.1\r\n",
		"purge":               "PURGE %s HTTP/1.1\r\n",
		"encoding":            "GET %s HTTP/1.1\r\nAccept-Encoding: gzip\r\n",
		"encoding upper case": "GET %s HTTP/1.1\r\nAccept-Encoding: GZIP\r\n",
		"encoding junk":       "GET %s HTTP/1.1\r\nAccept-Encoding: gzip;q=1;;,,,x-gzip\r\n",
		"http 1.0":            "GET %s HTTP/1.0\r\n",
		"no-store":            "GET %s HTTP/1.1\r\nCache-Control: no-store\r\n",
		"no-transform":        "GET %s HTTP/1.1\r\nCache-Control: no-transform\r\n",
		"upgrade":             "GET %s HTTP/1.1\r\nUpgrade: h2c\r\n",
		"http2 settings":      "GET %s HTTP/1.1\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
		"websocket":           "GET %s HTTP/1.1\r\nUpgrade: websocket\r\n",
		"event stream":        "GET %s HTTP/1.1\r\nAccept: text/event-stream\r\n",
		"grpc":                "GET %s HTTP/1.1\r\nContent-Type: application/grpc\r\n",
		"incremental":         "GET %s HTTP/1.1\r\nIncremental: ?1\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := c.in(t)
			path := "/" + harnessPath(name)
			c.origin.HandleFunc(path, honest)
			_, _, _ = c.raw(fmt.Sprintf(request, path) + "Host: SITE\r\nConnection: close\r\n\r\n")
			for range 2 {
				got := c.get(path)
				require.Equal(t, http.StatusOK, got.Status)
				require.Equal(t, body, string(got.Body))
				require.Empty(t, got.Header.Get("Content-Encoding"))
				require.Empty(t, got.Header.Get("Content-Range"))
			}
		})
	}
}

// A 304 in answer to an attacker's own validators validates nothing.
func TestAttack_ClientValidatorsDoNotValidateTheStored(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.HandleFunc("/page", func(r *origin.Request) origin.Reply {
		if strings.Contains(r.Header.Get("If-None-Match"), "evil") {
			return origin.Reply{Status: 304, Headers: []string{"Cache-Control: max-age=3600", `ETag: "evil"`, "X-Mark: " + marker}}
		}
		return text(fmt.Sprintf("answer %d", r.N), "Cache-Control: no-cache", `ETag: "1"`)
	})
	c.get("/page")
	got := c.get("/page", `If-None-Match: "evil"`)
	require.Equal(t, http.StatusOK, got.Status)
	got = c.get("/page")
	require.Equal(t, "answer 3", string(got.Body))
	require.Empty(t, got.Header.Get("X-Mark"))
	for _, r := range c.origin.Requests("/page") {
		require.NotContains(t, r.Header.Get("If-None-Match"), "evil")
	}
}

// Variants of one page, made by an attacker, neither fill the store nor drive
// out what others use.
func TestAttack_VaryExplosion(t *testing.T) {
	t.Parallel()
	c := startCached(t, "max_variants 8")
	c.origin.HandleFunc("/page", func(r *origin.Request) origin.Reply {
		return text("for "+r.Header.Get("X-Kind"), minute, "Vary: X-Kind")
	})
	c.origin.HandleFunc("/wide", func(*origin.Request) origin.Reply {
		var names []string
		for i := range 100 {
			names = append(names, fmt.Sprintf("X-Kind-%d", i))
		}
		return text("wide", minute, "Vary: "+strings.Join(names, ", "))
	})
	c.origin.HandleFunc("/other", numbered(minute))
	c.get("/other")
	b := sendTogether(t, c.Client(harness.H1), 200, func(i int) *http.Request {
		return c.request(http.MethodGet, "/page", fmt.Sprintf("X-Kind: %d", i))
	})
	for i, got := range b.responses() {
		require.Equal(t, fmt.Sprintf("for %d", i), string(got.Body))
	}
	// Beside the variants: the marker that tells them apart, and the other page.
	poll(t, "only eight variants are left", func() bool { return c.stats().Entries <= 8+2 })
	require.Equal(t, "answer 1", string(c.get("/other").Body))
	c.get("/wide")
	c.get("/wide")
	c.requireArrived("/wide", 2)
}

// A flood of URLs that miss stays within the budget.
func TestAttack_CacheBusting(t *testing.T) {
	t.Parallel()
	c := startCaddyfile(t, cachedSite, harness.Vars{"options": "", "memory": "2MiB"})
	c.origin.Handle("/", text("front page", minute))
	c.origin.Handle("/big", origin.Reply{Headers: []string{minute}, Body: origin.Pattern(20_000)})
	client := c.Client(harness.H1)
	for range 20 {
		c.get("/")
	}
	for n := range 20 {
		b := sendTogether(t, client, 50, func(i int) *http.Request {
			return c.request(http.MethodGet, fmt.Sprintf("/big?%d=%d", n, i))
		})
		for _, got := range b.responses() {
			require.Len(t, got.Body, 20_000)
		}
		c.get("/")
	}
	s := c.stats()
	require.LessOrEqual(t, s.Peak, s.Budget)
	require.Contains(t, cacheStatus(c.get("/")), "edge; hit", "what is used stays")
	c.requireArrived("/", 1)
}
