package rfc9111

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func with(change func(*Directives)) Directives {
	d := NoDirectives()
	change(&d)
	return d
}

func TestParseCacheControl(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		want  Directives
	}{
		{"nothing", nil, NoDirectives()},
		{"empty members", []string{"", " , ,,"}, NoDirectives()},
		{"flags", []string{"no-store, no-cache, private, public, must-revalidate, proxy-revalidate, must-understand, no-transform, only-if-cached, immutable"},
			with(func(d *Directives) {
				d.NoStore, d.NoCache, d.Private, d.Public, d.MustRevalidate = true, true, true, true, true
				d.ProxyRevalidate, d.MustUnderstand, d.NoTransform, d.OnlyIfCached, d.Immutable = true, true, true, true, true
			})},
		{"any case", []string{"MaX-aGe=10, No-StOrE"}, with(func(d *Directives) { d.MaxAge, d.NoStore = 10*time.Second, true })},
		{"deltas", []string{"max-age=1", "s-maxage=2, stale-while-revalidate=3", "stale-if-error=4,min-fresh=5,max-stale=6"},
			with(func(d *Directives) {
				d.MaxAge, d.SMaxAge, d.StaleWhileRevalidate = time.Second, 2*time.Second, 3*time.Second
				d.StaleIfError, d.MinFresh, d.MaxStale = 4*time.Second, 5*time.Second, 6*time.Second
			})},
		{"leading zeros", []string{"max-age=003600"}, with(func(d *Directives) { d.MaxAge = time.Hour })},
		{"quoted delta", []string{`max-age="3600"`}, with(func(d *Directives) { d.MaxAge = time.Hour })},
		{"quoted pair", []string{`max-age="3\600"`}, with(func(d *Directives) { d.MaxAge = time.Hour })},
		{"2^31", []string{"max-age=2147483648"}, with(func(d *Directives) { d.MaxAge = MaxDelta })},
		{"overflow", []string{"max-age=99999999999999999999999999"}, with(func(d *Directives) { d.MaxAge = MaxDelta })},
		{"shorter of two", []string{"max-age=1800, max-age=1"}, with(func(d *Directives) { d.MaxAge = time.Second })},
		{"shorter of two lines", []string{"max-age=1", "max-age=1800"}, with(func(d *Directives) { d.MaxAge = time.Second })},
		{"longer min-fresh", []string{"min-fresh=9, min-fresh=1, min-fresh=x"}, with(func(d *Directives) { d.MinFresh = 9 * time.Second })},
		{"bare max-stale", []string{"max-stale"}, with(func(d *Directives) { d.MaxStale = MaxDelta })},
		{"max-stale twice", []string{"max-stale=5, max-stale"}, with(func(d *Directives) { d.MaxStale = 5 * time.Second })},
		{"invalid windows are absent", []string{"stale-while-revalidate=x, stale-if-error"}, NoDirectives()},
		{"unknown", []string{`foobar, ext="max-age=9, no-store", max-age=1`}, with(func(d *Directives) { d.MaxAge = time.Second })},
		{"escaped quote hides nothing", []string{`ext="a\", no-store", max-age=1`}, with(func(d *Directives) { d.MaxAge = time.Second })},
		{"single quotes", []string{"max-age='3600'"}, with(func(d *Directives) { d.Invalid = true })},
		{"negative", []string{"max-age=-3600"}, with(func(d *Directives) { d.Invalid = true })},
		{"decimal", []string{"max-age=3600.0"}, with(func(d *Directives) { d.Invalid = true })},
		{"trailing letter", []string{"s-maxage=3600a"}, with(func(d *Directives) { d.Invalid = true })},
		{"no value", []string{"max-age"}, with(func(d *Directives) { d.Invalid = true })},
		{"empty value", []string{"max-age="}, with(func(d *Directives) { d.Invalid = true })},
		{"empty quoted value", []string{`max-age=""`}, with(func(d *Directives) { d.Invalid = true })},
		{"space before equals", []string{"max-age =1"}, with(func(d *Directives) { d.Invalid = true })},
		{"space after equals", []string{"max-age= 1"}, with(func(d *Directives) { d.Invalid = true })},
		{"missing comma", []string{"public max-age=1"}, with(func(d *Directives) { d.Invalid = true })},
		{"semicolon", []string{"max-age=1; public"}, with(func(d *Directives) { d.Invalid = true })},
		{"text after a quoted value", []string{`max-age="1"0`}, with(func(d *Directives) { d.Invalid = true })},
		{"open quote does not hide", []string{`ext="x, no-store, private`}, with(func(d *Directives) { d.Invalid, d.NoStore, d.Private = true, true, true })},
		{"restricting ones in any form", []string{"no-store=1, must-revalidate=x, private =a"},
			with(func(d *Directives) { d.NoStore, d.MustRevalidate, d.Private, d.Invalid = true, true, true, true })},
		{"permitting ones only when well-formed", []string{"public=1, must-understand=1, immutable=1"}, NoDirectives()},
		{"qualified", []string{`no-cache="a, B-c", private="x-y"`},
			with(func(d *Directives) { d.NoCacheFields, d.PrivateFields = []string{"A", "B-C"}, []string{"X-Y"} })},
		{"qualified by token", []string{"no-cache=set-cookie"}, with(func(d *Directives) { d.NoCacheFields = []string{"Set-Cookie"} })},
		{"qualified by nothing", []string{`no-cache="", private=" , "`}, with(func(d *Directives) { d.NoCache, d.Private = true, true })},
		{"qualified by no name", []string{`private="a b"`}, with(func(d *Directives) { d.Private = true })},
		{"qualified by what cannot be left out", []string{`no-cache="content-encoding"`},
			with(func(d *Directives) { d.NoCache, d.NoCacheFields = true, []string{"Content-Encoding"} })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, ParseCacheControl(tt.lines))
		})
	}
}

func TestParseRequest(t *testing.T) {
	noCache := with(func(d *Directives) { d.NoCache = true })
	require.Equal(t, NoDirectives(), ParseRequest(http.Header{}))
	require.Equal(t, noCache, ParseRequest(http.Header{"Pragma": {"foo, No-Cache"}}))
	require.Equal(t, NoDirectives(), ParseRequest(http.Header{"Pragma": {"unrecognised-extension"}}))
	require.Equal(t, with(func(d *Directives) { d.MaxAge = 0 }),
		ParseRequest(http.Header{"Cache-Control": {"max-age=0"}, "Pragma": {"no-cache"}}), "Pragma does not count beside Cache-Control")
}

func TestParseRequestDoesNotAllocate(t *testing.T) {
	headers := []http.Header{
		{"Accept": {"*/*"}},
		{"Cache-Control": {"no-cache"}, "Pragma": {"no-cache"}},
		{"Cache-Control": {"max-age=0, max-stale=10"}},
		{"Pragma": {"no-cache"}},
	}
	for _, h := range headers {
		require.Zero(t, testing.AllocsPerRun(100, func() { _ = ParseRequest(h) }), h)
	}
}

func TestParseResponse(t *testing.T) {
	targets := []string{"Edge-Cache-Control", "CDN-Cache-Control"}
	tests := []struct {
		name, edge, cdn, cc string
		want                Directives
		targeted            string
	}{
		{"only Cache-Control", "", "", "max-age=1", with(func(d *Directives) { d.MaxAge = time.Second }), ""},
		{"targeted wins", "", "max-age=2", "no-store", with(func(d *Directives) { d.MaxAge = 2 * time.Second }), targets[1]},
		{"first target wins", "max-age=3", "max-age=2", "no-store", with(func(d *Directives) { d.MaxAge = 3 * time.Second }), targets[0]},
		{"invalid target is skipped", "&&", "max-age=2", "no-store", with(func(d *Directives) { d.MaxAge = 2 * time.Second }), targets[1]},
		{"unknown type", "", "max-age=10000, &&&&&", "no-store", with(func(d *Directives) { d.NoStore = true }), ""},
		{"wrong type", "", `max-age="10000"`, "no-store", with(func(d *Directives) { d.NoStore = true }), ""},
		{"upper case key", "", "MaX-aGe=3600", "no-store", with(func(d *Directives) { d.NoStore = true }), ""},
		{"space before equals", "", "max-age =100", "max-age=1", with(func(d *Directives) { d.MaxAge = time.Second }), ""},
		{"space after equals", "", "max-age= 100", "max-age=1", with(func(d *Directives) { d.MaxAge = time.Second }), ""},
		{"only an extension", "", "foo", "max-age=1", NoDirectives(), targets[1]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			for name, value := range map[string]string{"Edge-Cache-Control": tt.edge, "CDN-Cache-Control": tt.cdn, "Cache-Control": tt.cc} {
				if value != "" {
					h.Set(name, value)
				}
			}
			d, targeted := ParseResponse(h, targets)
			require.Equal(t, tt.targeted, targeted)
			require.Equal(t, tt.want, d)
		})
	}
}

func TestParseTargeted(t *testing.T) {
	tests := []struct {
		name, value string
		want        Directives
		ok          bool
	}{
		{"empty", "", NoDirectives(), false},
		{"blank", "  ", NoDirectives(), false},
		{"overflow", "max-age=99999999999", with(func(d *Directives) { d.MaxAge = MaxDelta }), true},
		{"negative", "max-age=-1", with(func(d *Directives) { d.Invalid = true }), true},
		{"decimal", "max-age=1.5", NoDirectives(), false},
		{"no value", "max-age", NoDirectives(), false},
		{"inner list for a delta", "max-age=(1 2)", NoDirectives(), false},
		{"last of two", "max-age=1, max-age=5", with(func(d *Directives) { d.MaxAge = 5 * time.Second }), true},
		{"parameters", "max-age=1;x=2", with(func(d *Directives) { d.MaxAge = time.Second }), true},
		{"wrong type does not lift a prohibition", "max-age=a, no-store", with(func(d *Directives) { d.NoStore = true }), true},
		{"flags", "public, must-understand, immutable, must-revalidate, proxy-revalidate, no-transform, no-store=1",
			with(func(d *Directives) {
				d.Public, d.MustUnderstand, d.Immutable, d.MustRevalidate = true, true, true, true
				d.ProxyRevalidate, d.NoTransform, d.NoStore = true, true, true
			}), true},
		{"false", "no-store=?0, public=?0, private=?0, no-cache=?0", NoDirectives(), true},
		{"qualified", `no-cache="a", private=b`, with(func(d *Directives) { d.NoCacheFields, d.PrivateFields = []string{"A"}, []string{"B"} }), true},
		{"qualified by something else", "no-cache=(a), private=1", with(func(d *Directives) { d.NoCache, d.Private = true, true }), true},
		{"windows", "s-maxage=1, stale-while-revalidate=2, stale-if-error=3",
			with(func(d *Directives) {
				d.SMaxAge, d.StaleWhileRevalidate, d.StaleIfError = time.Second, 2*time.Second, 3*time.Second
			}), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, ok := ParseTargeted([]string{tt.value})
			require.Equal(t, tt.ok, ok)
			require.Equal(t, tt.want, d)
		})
	}
}

func TestParseCacheGroups(t *testing.T) {
	require.Equal(t, []string{"a", "b c", "A"}, ParseCacheGroups([]string{`"a", "b c";x`, `"a", "A"`}))
	require.Nil(t, ParseCacheGroups([]string{`"a", b`}), "tokens are not strings")
	require.Nil(t, ParseCacheGroups([]string{`("a")`}))
	require.Nil(t, ParseCacheGroups([]string{`"a`}))
	require.Nil(t, ParseCacheGroups(nil))
}

func TestParseVary(t *testing.T) {
	tests := []struct {
		lines []string
		names []string
		star  bool
	}{
		{nil, nil, false},
		{[]string{"", " , "}, nil, false},
		{[]string{"Foo, bar", "FOO,Accept-Encoding"}, []string{"accept-encoding", "bar", "foo"}, false},
		{[]string{"*"}, nil, true},
		{[]string{"*, *"}, nil, true},
		{[]string{", *"}, nil, true},
		{[]string{"", "*"}, nil, true},
		{[]string{"*, Foo"}, nil, true},
		{[]string{"Foo, *"}, nil, true},
		{[]string{"Foo Bar"}, nil, true},
		{[]string{`"Foo"`}, nil, true},
	}
	for _, tt := range tests {
		names, star := ParseVary(tt.lines)
		require.Equal(t, tt.names, names, tt.lines)
		require.Equal(t, tt.star, star, tt.lines)
	}
}

// member lists for the properties: well-formed, malformed and contradicting.
var directiveGen = rapid.SampledFrom([]string{
	"max-age=0", "max-age=1", "max-age=100", "max-age=x", "s-maxage=5", "s-maxage=50", "s-maxage", "public", "private",
	"no-cache", `no-cache="a"`, "no-store", "must-revalidate", "must-understand", "stale-while-revalidate=7",
	"stale-while-revalidate=70", "stale-if-error=8", "stale-if-error=80", `ext="a, b"`, `ext="a`, "immutable", "",
})

func TestDuplicatesNeverLengthen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOf(directiveGen).Draw(t, "list")
		extra := rapid.SampledFrom([]string{"max-age=", "s-maxage=", "stale-while-revalidate=", "stale-if-error=", "max-stale="}).Draw(t, "name")
		first := ParseCacheControl(append([]string{extra + "10"}, list...))
		both := ParseCacheControl(append([]string{extra + "10", extra + rapid.StringMatching(`[0-9a]{0,12}`).Draw(t, "value")}, list...))
		require.LessOrEqual(t, both.MaxAge, first.MaxAge)
		require.LessOrEqual(t, both.SMaxAge, first.SMaxAge)
		require.LessOrEqual(t, both.StaleWhileRevalidate, first.StaleWhileRevalidate)
		require.LessOrEqual(t, both.StaleIfError, first.StaleIfError)
		require.LessOrEqual(t, both.MaxStale, first.MaxStale)
		require.True(t, both.Invalid || !first.Invalid)
	})
}

func FuzzCacheControl(f *testing.F) {
	for _, s := range []string{"max-age=1, no-store", `private="a,b", x="no-store`, `max-age="1\0"`, "a=b=c,,", `no-cache="`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d := ParseCacheControl([]string{s})
		for _, delta := range []time.Duration{d.MaxAge, d.SMaxAge, d.StaleWhileRevalidate, d.StaleIfError, d.MinFresh, d.MaxStale} {
			require.True(t, delta == Absent || (delta >= 0 && delta <= MaxDelta), delta)
		}
		// A member behind anything at all is seen, unless it is inside quotes.
		if !strings.Contains(s, `"`) {
			require.True(t, ParseCacheControl([]string{s + ", no-store"}).NoStore)
		}
		require.Equal(t, d, ParseCacheControl([]string{s, ""}))
		require.Equal(t, serialise(d), serialise(ParseCacheControl([]string{serialise(d)})))
	})
}

// serialise writes directives in their normal form.
func serialise(d Directives) string {
	var list []string
	flag := func(on bool, name string) {
		if on {
			list = append(list, name)
		}
	}
	fields := func(names []string, name string) {
		if len(names) > 0 {
			list = append(list, name+`="`+strings.Join(names, ",")+`"`)
		}
	}
	delta := func(v time.Duration, name string) {
		if v != Absent {
			list = append(list, name+"="+strconv.FormatInt(int64(v/time.Second), 10))
		}
	}
	flag(d.NoStore, "no-store")
	flag(d.NoCache, "no-cache")
	flag(d.Private, "private")
	flag(d.Public, "public")
	flag(d.MustRevalidate, "must-revalidate")
	flag(d.ProxyRevalidate, "proxy-revalidate")
	flag(d.MustUnderstand, "must-understand")
	flag(d.NoTransform, "no-transform")
	flag(d.OnlyIfCached, "only-if-cached")
	flag(d.Immutable, "immutable")
	fields(d.NoCacheFields, "no-cache")
	fields(d.PrivateFields, "private")
	delta(d.MaxAge, "max-age")
	delta(d.SMaxAge, "s-maxage")
	delta(d.StaleWhileRevalidate, "stale-while-revalidate")
	delta(d.StaleIfError, "stale-if-error")
	delta(d.MinFresh, "min-fresh")
	delta(d.MaxStale, "max-stale")
	flag(d.Invalid, "max-age=invalid")
	return strings.Join(list, ", ")
}

func FuzzTargeted(f *testing.F) {
	f.Add("max-age=1, private")
	f.Add(`no-cache="a", s-maxage=-2`)
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := ParseTargeted([]string{s})
		if !ok {
			require.Equal(t, NoDirectives(), d)
			return
		}
		if d2, ok := ParseTargeted([]string{s, "no-store"}); ok {
			require.True(t, d2.NoStore)
		}
	})
}

func FuzzCacheGroups(f *testing.F) {
	f.Add(`"a", "b"`)
	f.Fuzz(func(t *testing.T, s string) {
		groups := ParseCacheGroups([]string{s})
		seen := map[string]bool{}
		for _, g := range groups {
			require.False(t, seen[g])
			seen[g] = true
		}
		if groups != nil {
			require.Equal(t, groups, ParseCacheGroups([]string{s, s}))
		}
	})
}

func FuzzVary(f *testing.F) {
	f.Add("a, B", "*")
	f.Add(",,", "x y")
	f.Fuzz(func(t *testing.T, a, b string) {
		names, star := ParseVary([]string{a, b})
		swapped, starSwapped := ParseVary([]string{b, a})
		require.Equal(t, star, starSwapped)
		require.Equal(t, names, swapped, "the order of the lines does not matter")
		joined, starJoined := ParseVary([]string{a + "," + b})
		require.Equal(t, star, starJoined)
		require.Equal(t, names, joined)
		again, _ := ParseVary([]string{strings.ToUpper(strings.Join(names, ","))})
		require.Equal(t, names, again)
	})
}
