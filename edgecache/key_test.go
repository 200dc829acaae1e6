package edgecache

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// ask makes a request as it reaches the handler: prepared by Caddy, and then
// rewritten to uri when that is not what the client asked for.
func ask(scheme, host, original, uri string, fields http.Header) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://placeholder/", nil)
	r.Host, r.RequestURI, r.Header = host, original, fields
	r.URL, _ = url.ParseRequestURI(original)
	if scheme == "https" {
		r.TLS = new(tls.ConnectionState)
	}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, new(caddyhttp.Server))
	if uri != original {
		r.URL, _ = url.ParseRequestURI(uri)
		r.RequestURI = uri
	}
	return r
}

func keyOf(k *keyer, r *http.Request) (string, bool) {
	t := k.targetOf(r)
	key, ok := k.append(nil, &t, r)
	return string(key), ok
}

// TestKeyProperty: two requests have the same key exactly when everything that
// reaches the origin and is configured to count is the same.
func TestKeyProperty(t *testing.T) {
	type request struct {
		Namespace, Scheme, Host, Original, URI string
		Header, Cookie                         []string
		Forwarded                              string
	}
	some := func(name string, values ...string) *rapid.Generator[string] { return rapid.SampledFrom(values) }
	requests := rapid.Custom(func(rt *rapid.T) request {
		q := some("query", "", "?a=1", "?a=1&b=2", "?b=2&a=1", "?a=1&utm_source=x", "?a=", "?%61=1", "?a=1&a=2", "?a=2&a=1")
		path := some("path", "/", "/a", "/a/", "/%61", "/a%3Fb=1", "/a%2Fb", "/a/b", "/A")
		req := request{
			Namespace: some("namespace", "", "n").Draw(rt, "namespace"),
			Scheme:    some("scheme", "http", "https").Draw(rt, "scheme"),
			Host:      some("host", "a.example", "A.example", "a.example:80", "a.example:443", "b.example").Draw(rt, "host"),
			Original:  path.Draw(rt, "path") + q.Draw(rt, "query"),
			Header:    rapid.SliceOfN(some("value", "", "a", "b", "a, b", "=", "\x01"), 0, 2).Draw(rt, "header"),
			Cookie:    rapid.SliceOfN(some("cookie", "c=1", "c=", "c", "d=1", `c="1"`, `c=\`, "c=1=1"), 0, 2).Draw(rt, "cookie"),
			Forwarded: some("forwarded", "", "", "evil").Draw(rt, "forwarded"),
		}
		req.URI = req.Original
		if rapid.IntRange(0, 3).Draw(rt, "rewritten") == 0 {
			req.URI = path.Draw(rt, "new path") + q.Draw(rt, "new query")
		}
		return req
	})
	sorting := func(q string) string {
		kept := slices.DeleteFunc(strings.Split(strings.TrimPrefix(q, "?"), "&"), func(p string) bool { return strings.HasPrefix(p, "utm_") })
		slices.SortStableFunc(kept, func(a, b string) int {
			name := func(p string) string {
				n, _, _ := strings.Cut(p, "=")
				n, _ = url.QueryUnescape(n)
				return n
			}
			return strings.Compare(name(a), name(b))
		})
		return strings.Join(kept, "&")
	}
	plain := func(q string) string { return strings.TrimPrefix(q, "?") }
	for name, config := range map[string]struct {
		query *Query
		slow  func(string) string
		keyed bool
	}{
		"plain":        {nil, plain, false},
		"query rules":  {&Query{Sort: true, Ignore: []string{"tracking"}}, sorting, false},
		"keyed fields": {nil, plain, true},
	} {
		t.Run(name, func(t *testing.T) {
			// identity is all that counts, in a form without any cleverness.
			identity := func(r request) string {
				host := strings.ToLower(r.Host)
				if port := map[string]string{"http": ":80", "https": ":443"}[r.Scheme]; strings.HasSuffix(host, port) {
					host = host[:len(host)-len(port)]
				}
				target := func(uri string) string {
					path, query, _ := strings.Cut(uri, "?")
					return fmt.Sprintf("%q %q", path, config.slow(query))
				}
				var cookies []string
				for _, c := range r.Cookie {
					if n, v, _ := strings.Cut(c, "="); n == "c" {
						cookies = append(cookies, v)
					}
				}
				forwarded := ""
				if config.keyed {
					forwarded = r.Forwarded
				}
				header := "absent"
				if len(r.Header) > 0 {
					header = fmt.Sprintf("%q", strings.Join(r.Header, ", "))
				}
				return fmt.Sprintf("%q %q %q %q %q %s %q %q", r.Namespace, r.Scheme, host, target(r.URI), target(r.Original), header, cookies, forwarded)
			}
			key := func(rt *rapid.T, r request) string {
				k := &keyer{
					namespace: r.Namespace, query: config.query.compile(), keyed: config.keyed,
					rules: KeyRules{Headers: []string{"X-K"}, Cookies: []string{"c"}, Values: []string{"{http.request.header.X-V}"}},
				}
				fields := http.Header{}
				if len(r.Header) > 0 {
					fields["X-K"] = r.Header
				}
				if len(r.Cookie) > 0 {
					fields["Cookie"] = []string{strings.Join(r.Cookie, "; ")}
				}
				if r.Forwarded != "" {
					fields["X-Forwarded-Host"] = []string{r.Forwarded}
				}
				key, ok := keyOf(k, ask(r.Scheme, r.Host, r.Original, r.URI, fields))
				if !ok {
					rt.Fatalf("no key for %+v", r)
				}
				return key
			}
			rapid.Check(t, func(rt *rapid.T) {
				a, b := requests.Draw(rt, "a"), requests.Draw(rt, "b")
				if rapid.Bool().Draw(rt, "alike") { // two at random hardly ever are
					c := a
					switch rapid.IntRange(0, 6).Draw(rt, "but for") {
					case 0:
						c.Host = b.Host
					case 1:
						c.Original = b.Original
					case 2:
						c.URI = b.URI
					case 3:
						c.Header = b.Header
					case 4:
						c.Cookie = b.Cookie
					case 5:
						c.Forwarded = b.Forwarded
					}
					b = c
				}
				same := identity(a) == identity(b)
				if keys := [2]string{key(rt, a), key(rt, b)}; (keys[0] == keys[1]) != same {
					rt.Fatalf("identities %s\n           %s\nkeys %q\n     %q", identity(a), identity(b), keys[0], keys[1])
				}
			})
		})
	}
}

func TestKeyRefusesNUL(t *testing.T) {
	rules := KeyRules{Headers: []string{"X-K"}, Cookies: []string{"c"}, Values: []string{"{http.request.header.X-V}"}}
	for name, fields := range map[string]http.Header{
		"header": {"X-K": {"a\x00b"}},
		"cookie": {"Cookie": {"c=a\x00b"}},
		"value":  {"X-V": {"\x00"}},
		"keyed":  {"X-Forwarded-Host": {"a\x00"}},
	} {
		_, ok := keyOf(&keyer{rules: rules, keyed: true}, ask("http", "a.example", "/", "/", fields))
		require.False(t, ok, name)
	}
	_, ok := keyOf(&keyer{rules: rules}, ask("http", "a\x00.example", "/", "/", http.Header{}))
	require.False(t, ok, "host")
	_, ok = keyOf(&keyer{rules: rules, keyed: true}, ask("http", "a.example", "/", "/", http.Header{"X-K": {"a"}, "Cookie": {"c=1"}}))
	require.True(t, ok)
}

func TestKeyIgnores(t *testing.T) {
	a := ask("http", "a.example", "/x", "/x", http.Header{})
	b := ask("https", "b.example", "/x", "/x", http.Header{})
	for _, tt := range []struct {
		rules KeyRules
		same  bool
	}{
		{KeyRules{}, false}, {KeyRules{IgnoreHost: true}, false}, {KeyRules{IgnoreScheme: true}, false},
		{KeyRules{IgnoreHost: true, IgnoreScheme: true}, true},
	} {
		ka, _ := keyOf(&keyer{rules: tt.rules}, a)
		kb, _ := keyOf(&keyer{rules: tt.rules}, b)
		require.Equal(t, tt.same, ka == kb, "%+v", tt.rules)
	}
}

// TestKeyOfATrustedProxy: what Caddy's proxy passes on for it is in the key.
func TestKeyOfATrustedProxy(t *testing.T) {
	key := func(value string, trusted bool, names ...string) string {
		fields := http.Header{}
		for _, name := range names {
			fields[name] = []string{value}
		}
		r := ask("http", "a.example", "/", "/", fields)
		caddyhttp.SetVar(r.Context(), caddyhttp.TrustedProxyVarKey, trusted)
		k, ok := keyOf(&keyer{}, r)
		require.True(t, ok)
		return k
	}
	for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Forwarded-User"} {
		require.NotEqual(t, key("one", true, name), key("two", true, name), name)
		require.Equal(t, key("one", false, name), key("two", false, name), name)
	}
	require.Equal(t, key("one", true, "X-Forwarded-For"), key("two", true, "X-Forwarded-For"))
}

func TestTargetURL(t *testing.T) {
	tests := []struct{ scheme, host, original, uri, want string }{
		{"http", "Example.COM:80", "/a?b", "/a?b", "http://example.com/a?b"},
		{"https", "example.com:8443", "/", "/", "https://example.com:8443/"},
		{"https", "example.com", "/pretty", "/index.php?p=pretty", "https://example.com/pretty"},
		{"http", "example.com", "http://example.com/abs?x", "/abs?x", "http://example.com/abs?x"},
	}
	for _, tt := range tests {
		target := new(keyer).targetOf(ask(tt.scheme, tt.host, tt.original, tt.uri, http.Header{}))
		require.Equal(t, tt.want, target.url())
	}
}

func TestCookiesOf(t *testing.T) {
	tests := []struct {
		lines []string
		want  []string
	}{
		{nil, nil},
		{[]string{"a=1"}, []string{"a", "1"}},
		{[]string{"a=1; b=2;c=3", "d = 4"}, []string{"a", "1", "b", "2", "c", "3", "d", " 4"}},
		{[]string{`a={"x": "\u00e9"}; b="q"`}, []string{"a", `{"x": "\u00e9"}`, "b", `"q"`}},
		{[]string{"; =x; flag; a=b=c"}, []string{"flag", "", "a", "b=c"}},
	}
	for _, tt := range tests {
		var got []string
		for name, value := range cookiesOf(http.Header{"Cookie": tt.lines}) {
			got = append(got, name, value)
		}
		require.Equal(t, tt.want, got)
	}
}

// FuzzCookiesOf: whatever net/http takes for a cookie is one here too.
func FuzzCookiesOf(f *testing.F) {
	f.Add("a=1; b=2")
	f.Add(`a="x"; b={"y":1}`)
	f.Fuzz(func(t *testing.T, line string) {
		line = strings.NewReplacer("\r", "", "\n", "").Replace(line) // no field value has any
		r := &http.Request{Header: http.Header{"Cookie": {line}}}
		seen := map[string]int{}
		for name := range cookiesOf(r.Header) {
			seen[name]++
		}
		for _, c := range r.Cookies() {
			seen[c.Name]--
			require.GreaterOrEqual(t, seen[c.Name], 0, "%q of %q", c.Name, line)
		}
	})
}

// TestDefaultKeyIsPlain: only options that differ from the defaults mark a key.
func TestDefaultKeyIsPlain(t *testing.T) {
	for config, want := range map[string]bool{
		`{}`: true, `{"namespace": "n", "ttl": "1m", "allow_headers": []}`: true,
		`{"request_headers": "trust"}`: false, `{"key": {"headers": ["X-A"]}}`: false, `{"store_set_cookie": true}`: false,
	} {
		g, cleanup := newRig(t, config, nil)
		require.Equal(t, want, g.keyer.variety == "", config)
		cleanup()
	}
}
