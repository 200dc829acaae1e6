package edgelimit

import (
	"net/http"
	"net/http/httptest"
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
// are the same up to the bound.
func FuzzKey(f *testing.F) {
	k, err := parseKey("{http.request.header.X-A}|{http.request.header.X-B}", 32, 64)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("a", "b", "a", "b")
	f.Add("ab", "", "a", "b")
	f.Add("", "", "\xff", "")
	f.Fuzz(func(t *testing.T, a1, b1, a2, b2 string) {
		make := func(a, b string) string {
			key, shown := keyed(t, k, "192.0.2.1", func(r *http.Request) { r.Header = http.Header{"X-A": {a}, "X-B": {b}} })
			if len(key) > 2*maxValue+32 || len(shown) > 2*maxDisplay+32 {
				t.Fatalf("%d bytes, %d shown", len(key), len(shown))
			}
			return key
		}
		cut := func(s string) string { return s[:min(len(s), maxValue)] }
		same := cut(a1) == cut(a2) && cut(b1) == cut(b2)
		if got := make(a1, b1) == make(a2, b2); got != same {
			t.Fatalf("%q %q and %q %q: same key: %v", a1, b1, a2, b2, got)
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
