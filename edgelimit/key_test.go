package edgelimit

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
)

// keyed returns the key of a request, and the text shown of it.
func keyed(t testing.TB, k *keyer, client string, change func(r *http.Request)) (key, shown string) {
	t.Helper()
	r := request("192.0.2.1", "http://Example.com:8080/a/b?q=1")
	if change != nil {
		change(r)
	}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), new(caddyhttp.Server))
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, client)
	return string(k.append(nil, r)), string(k.display(nil, r))
}

func TestKeyOfAddresses(t *testing.T) {
	for _, tt := range []struct {
		a, b   string
		v4, v6 int
		same   bool
		shown  string
	}{
		{"192.0.2.1", "192.0.2.1", 32, 64, true, "192.0.2.1"},
		{"192.0.2.1", "192.0.2.2", 32, 64, false, "192.0.2.1"},
		{"192.0.2.1", "192.0.2.200", 24, 64, true, "192.0.2.0/24"},
		{"192.0.2.1", "192.0.3.1", 24, 64, false, "192.0.2.0/24"},
		{"2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", 32, 64, true, "2001:db8::/64"},
		{"2001:db8::1", "2001:db8:0:1::1", 32, 64, false, "2001:db8::/64"},
		{"2001:db8::1", "2001:db8::2", 32, 128, false, "2001:db8::1"},
		{"::ffff:192.0.2.1", "192.0.2.1", 32, 64, true, "192.0.2.1"},
		{"fe80::1%eth0", "fe80::2%eth1", 32, 64, true, "fe80::/64"},
		{"@", "@", 32, 64, true, "@"}, // a client on a Unix socket
	} {
		k, err := parseKey(DefaultKey, tt.v4, tt.v6)
		require.NoError(t, err)
		a, shown := keyed(t, k, tt.a, nil)
		b, _ := keyed(t, k, tt.b, nil)
		require.Equal(t, tt.same, a == b, "%s and %s", tt.a, tt.b)
		require.Equal(t, tt.shown, shown)
	}
}

func TestKeyParts(t *testing.T) {
	const two = "{http.request.header.X-A}{http.request.header.X-B}"
	set := func(fields ...string) func(r *http.Request) {
		return func(r *http.Request) {
			for _, f := range fields {
				name, value, _ := strings.Cut(f, ": ")
				r.Header.Add(name, value)
			}
		}
	}
	for name, tt := range map[string]struct {
		template string
		a, b     func(r *http.Request)
		same     bool
	}{
		"values can't be shifted":         {two, set("X-A: ab", "X-B: c"), set("X-A: a", "X-B: bc"), false},
		"nor made up of separators":       {two, set("X-A: a", "X-B: "), set("X-A: a\x00\x00"), false},
		"all empty is the client":         {two, nil, set("X-A: ", "X-B: "), true},
		"one value is not the client":     {two, set("X-A: 192.0.2.1"), nil, false},
		"other headers don't matter":      {two, set("X-A: a", "X-C: c"), set("X-A: a"), true},
		"several values are none":         {"{http.request.header.X-A}", set("X-A: a", "X-A: b"), nil, true},
		"several cookies are none":        {"{http.request.cookie.id}", set("Cookie: id=1; id=2"), nil, true},
		"no value among resources":        {"{http.request.header.X-A}{http.request.uri.path}", nil, func(r *http.Request) { r.URL.Path = "/c" }, false},
		"names of headers are one":        {"{http.request.header.x-a}", set("X-A: a"), set("X-A: b"), false},
		"cookies":                         {"{http.request.cookie.id}", set("Cookie: id=1; x=2"), set("Cookie: x=3; id=1"), true},
		"query":                           {"{http.request.uri.query.q}", nil, func(r *http.Request) { r.URL.RawQuery = "q=2" }, false},
		"paths of one resource":           {"{http.request.uri.path}", func(r *http.Request) { r.URL.Path = "//A/./c/../b" }, nil, true},
		"path":                            {"{http.request.uri.path}", nil, func(r *http.Request) { r.URL.Path = "/c" }, false},
		"host has no case and no port":    {"{http.request.host}", nil, func(r *http.Request) { r.Host = "eXample.com" }, true},
		"method":                          {"{http.request.method}", nil, func(r *http.Request) { r.Method = "PUT" }, false},
		"remote is not the client's":      {"{http.request.remote.host}", nil, func(r *http.Request) { r.RemoteAddr = "192.0.2.2:1" }, false},
		"more than the bound is all same": {"{http.request.header.X-A}", set("X-A: " + strings.Repeat("a", maxValue) + "b"), set("X-A: " + strings.Repeat("a", maxValue) + "c"), true},
		"up to the bound is not":          {"{http.request.header.X-A}", set("X-A: " + strings.Repeat("a", maxValue-1) + "b"), set("X-A: " + strings.Repeat("a", maxValue-1) + "c"), false},
	} {
		k, err := parseKey(tt.template, 32, 64)
		require.NoError(t, err, name)
		a, _ := keyed(t, k, "192.0.2.1", tt.a)
		b, _ := keyed(t, k, "192.0.2.1", tt.b)
		require.Equal(t, tt.same, a == b, name)
	}
}

// TestNobodySharesTheKeyOfOthers: without anything that names a client, the
// address counts, whatever else is in the key.
func TestNobodySharesTheKeyOfOthers(t *testing.T) {
	for template, same := range map[string]bool{
		"{http.request.header.X-A} {http.request.uri.path}":  false,
		"{http.request.uri.query.key} {http.request.method}": false,
		"{http.auth.user.id}":                                false,
		"{http.vars.none}":                                   false,
		"{http.request.uri.path}":                            true, // so it is wanted
		"{http.request.scheme}":                              true,
		"all":                                                true,
	} {
		k, err := parseKey(template, 32, 64)
		require.NoError(t, err)
		a, shownA := keyed(t, k, "192.0.2.1", nil)
		b, shownB := keyed(t, k, "192.0.2.2", nil)
		require.Equal(t, same, a == b, template)
		require.Equal(t, same, shownA == shownB, template)
	}
}

// TestShownKeys: what may be a secret is not shown, and nothing breaks a line.
func TestShownKeys(t *testing.T) {
	k, err := parseKey("{http.vars.client_ip} {http.request.header.Authorization} {http.request.uri.path}", 32, 64)
	require.NoError(t, err)
	_, shown := keyed(t, k, "192.0.2.1", func(r *http.Request) {
		r.Header.Set("Authorization", "Bearer secret")
		r.URL.Path = "/a\n\x00ä" + strings.Repeat("x", 1000)
	})
	require.Regexp(t, `^192\.0\.2\.1\|sha256:[0-9a-f]{12}\|/a\?\?\?\?x+\.\.\.$`, shown)
	require.Less(t, len(shown), 200)
}

func TestParseKeyErrors(t *testing.T) {
	for template, want := range map[string]string{
		"": "is empty", "{http.vars.client_ip": "not closed", "{client_ip}": "unknown placeholder {client_ip}", "{}": "unknown placeholder {}",
		"{http.request.header.}": "unknown placeholder", "{http.request.headers.X-A}": "unknown placeholder", "{http.request.uri.pth}": "unknown placeholder",
		"{http.request.uri.path.fil}": "unknown placeholder", "{http.request.body}": "unknown placeholder", "{system.hostname}": "unknown placeholder",
	} {
		_, err := parseKey(template, 32, 64)
		require.ErrorContains(t, err, want, template)
	}
	for _, template := range []string{"{http.request.uri.path.0}", "{http.request.uri.path.file.ext}", "{http.request.tls.client.fingerprint}", "{http.auth.user.id}", "all"} {
		_, err := parseKey(template, 32, 64)
		require.NoError(t, err, template)
	}
}

// TestKeyFromValues: what an operator asks for is what requests have.
func TestKeyFromValues(t *testing.T) {
	k, err := parseKey("a{http.vars.client_ip}b{http.request.header.X-A}", 24, 64)
	require.NoError(t, err)
	want, _ := keyed(t, k, "192.0.2.77", func(r *http.Request) { r.Header.Set("X-A", "v") })
	got, err := k.fromValues([]string{"192.0.2.1", "v"})
	require.NoError(t, err)
	require.Equal(t, want, string(got))
	anonymous, _ := keyed(t, k, "192.0.2.9", func(r *http.Request) {})
	require.NotEqual(t, want, anonymous)
	for want, values := range map[string][]string{
		"want 2 values, one for each placeholder of the zone's key, got 0": {},
		"want 2 values, one for each placeholder of the zone's key, got 1": {"192.0.2.1"},
		"want 2 values, one for each placeholder of the zone's key, got 3": {"192.0.2.1", "v", "no address"},
		"want 2 values, one for each placeholder of the zone's key, got 4": {"192.0.2.1", "v", "w", "x"},
	} {
		_, err := k.fromValues(values)
		require.EqualError(t, err, want)
	}
	one, err := parseKey(DefaultKey, 32, 64)
	require.NoError(t, err)
	_, err = one.fromValues([]string{"a", "b"})
	require.EqualError(t, err, "want 1 value, got 2")
}

// FuzzKey: the key is bounded, and two requests share one only if their values
// are the same, as far as they count.
func FuzzKey(f *testing.F) {
	const v4, v6 = 24, 56
	parse := func(template string) *keyer {
		k, err := parseKey(template, v4, v6)
		if err != nil {
			f.Fatal(err)
		}
		return k
	}
	headers := parse("{http.request.header.X-A}|{http.request.header.X-B}")
	all := parse("{http.vars.client_ip}{http.request.remote.host}{http.request.cookie.id}{http.request.uri.path}{http.request.host}{http.request.method}")
	f.Add("a", "b", "a", "b")
	f.Add("ab", "", "a", "b")
	f.Add("", "", "\xff", "")
	f.Add("192.0.2.1", "/a", "192.0.2.200", "/A/./b/..")
	f.Add("2001:db8::1", "a=b; id=c", "2001:db8:0:ff::1", "id")
	f.Add("::ffff:192.0.2.1", "\x04\xc0\x00\x02\x00", "fe80::1%eth0", "[::1]:80")
	f.Fuzz(func(t *testing.T, a1, b1, a2, b2 string) {
		key := func(k *keyer, client string, change func(r *http.Request)) string {
			key, shown := keyed(t, k, client, change)
			values := k.placeholders()
			if len(key) > values*(2+maxValue)+32 || len(shown) > values*(maxDisplay+4)+32 {
				t.Fatalf("%d bytes, %d shown", len(key), len(shown))
			}
			if strings.ContainsFunc(shown, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Fatalf("shown: %q", shown)
			}
			return key
		}
		requireSame := func(k *keyer, one, other string, same bool) {
			if got := one == other; got != same {
				t.Fatalf("%q %q and %q %q: key %v: same: %v", a1, b1, a2, b2, k.parts, got)
			}
		}
		cut := func(s string) string { return s[:min(len(s), maxValue)] }
		fields := func(a, b string) string {
			return key(headers, "192.0.2.1", func(r *http.Request) { r.Header = http.Header{"X-A": {a}, "X-B": {b}} })
		}
		requireSame(headers, fields(a1, b1), fields(a2, b2), cut(a1) == cut(a2) && cut(b1) == cut(b2))

		// What counts of each value, by other means.
		address := func(s string) string {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return "no address " + cut("?"+s)
			}
			if a = a.Unmap().WithZone(""); a.Is4() {
				return netip.PrefixFrom(a, v4).Masked().String()
			}
			return netip.PrefixFrom(a, v6).Masked().String()
		}
		session := func(s string) string {
			if all := (&http.Request{Header: http.Header{"Cookie": {s}}}).CookiesNamed("id"); len(all) == 1 {
				return cut(all[0].Value)
			}
			return ""
		}
		pages := func(s string) string { return cut(strings.ToLower(caddyhttp.CleanPath(s, true))) }
		for _, p := range []struct {
			part   int // of all
			counts func(s string) string
			set    func(r *http.Request, s string)
		}{
			{1, func(s string) string { return address(hostOf(s)) }, func(r *http.Request, s string) { r.RemoteAddr = s }},
			{2, session, func(r *http.Request, s string) { r.Header.Set("Cookie", s) }},
			{3, pages, func(r *http.Request, s string) { r.URL.Path = s }},
			{4, func(s string) string { return cut(strings.ToLower(hostOf(s))) }, func(r *http.Request, s string) { r.Host = s }},
			{5, cut, func(r *http.Request, s string) { r.Method = s }},
		} {
			// With an address in front, which all have.
			k := &keyer{parts: []part{all.parts[0], all.parts[p.part]}, v4: v4, v6: v6, names: true}
			with := func(client, s string) string { return key(k, client, func(r *http.Request) { p.set(r, s) }) }
			requireSame(k, with(a1, b1), with(a2, b2), address(a1) == address(a2) && p.counts(b1) == p.counts(b2))
		}
		whole := func(client, s string) string {
			return key(all, client, func(r *http.Request) {
				r.RemoteAddr, r.URL.Path, r.Host, r.Method = s, s, s, s
				r.Header.Set("Cookie", s)
			})
		}
		if whole(a1, b1) == whole(a2, b2) && (address(a1) != address(a2) || cut(b1) != cut(b2)) {
			t.Fatalf("%q %q and %q %q have one key", a1, b1, a2, b2)
		}
	})
}

// TestDisplayOfLongValues: what does not count for the key changes its text
// neither, or one client would have many in the list of those refused most.
func TestDisplayOfLongValues(t *testing.T) {
	k, err := parseKey("{http.request.header.X-Client}", 32, 64)
	require.NoError(t, err)
	with := func(value string) (key, shown string) {
		return keyed(t, k, "192.0.2.1", func(r *http.Request) { r.Header.Set("X-Client", value) })
	}
	long := strings.Repeat("a", maxValue)
	key, shown := with(long)
	longerKey, longerShown := with(long + "b")
	require.Equal(t, key, longerKey)
	require.Equal(t, shown, longerShown)
	_, otherShown := with("b" + long)
	require.NotEqual(t, shown, otherShown)
}
