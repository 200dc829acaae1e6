package target

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPath(t *testing.T) {
	both := Options{DotSegments: true, Slashes: true}
	for _, test := range []struct {
		raw    string
		o      Options
		normal string
		faults Fault
	}{
		{"/", Options{}, "/", 0},
		{"/app.js", Options{}, "/app.js", 0},
		{"/a/b-c_d~e/!$&'()*+,=:@[]", both, "/a/b-c_d~e/!$&'()*+,=:@[]", 0},
		{"/%61dmin", Options{}, "/admin", 0},
		{"/a%2fb", Options{}, "/a%2Fb", 0},
		{"/%7euser/%e4%b8%ad", Options{}, "/~user/%E4%B8%AD", 0},
		{"/中 \"<>^`{|}#", Options{}, "/%E4%B8%AD%20%22%3C%3E%5E%60%7B%7C%7D%23", 0},
		{"/a//b", Options{}, "/a//b", 0},
		{"/a//b///", Options{Slashes: true}, "/a/b/", 0},
		{"//a", Options{Slashes: true}, "/a", 0},
		{"/./a/.", Options{}, "/./a/.", 0},
		{"/./a/.", both, "/a/", 0},
		{"/%2e/a", both, "/a", 0},
		{"/.hidden/..b/...", both, "/.hidden/..b/...", 0},
		{"/a/b/../c", both, "/a/c", 0},
		{"/a/b/..", both, "/a/", 0},
		{"/a/%2E%2e/b", both, "/b", 0},
		{"/.//evil", Options{DotSegments: true}, "/.//evil", 0},
		{"//evil", Options{DotSegments: true}, "//evil", 0},
		{"/100%25", Options{}, "/100%25", 0},
		{"/x%2520y", Options{}, "/x%2520y", 0},
		{"/u/https%253A", Options{}, "/u/https%253A", 0},
		{"*", Options{}, "*", 0},
		{"", both, "", 0},

		{"/a/../b", Options{}, "/a/../b", Traversal},
		{"/..", both, "/..", Traversal},
		{"/a/../../b", both, "/a/../../b", Traversal},
		{"/a//../b", Options{DotSegments: true}, "/a//../b", Traversal},
		{"/a//../b", both, "/b", 0},
		{"/a/%2e%2e/b", Options{}, "/a/../b", Traversal},
		{"/a/.%2e/b", Options{}, "/a/../b", Traversal},
		{"/a/..%2fb", both, "/a/..%2Fb", Traversal},
		{"/a%2f..%2fb", both, "/a%2F..%2Fb", Traversal},
		{"/a/..;/b", both, "/a/..;/b", Traversal | Parameter},
		{"/a/..;x=1/b", Options{}, "/a/..;x=1/b", Traversal | Parameter},
		{"/a/..%3b/b", Options{}, "/a/..%3B/b", Traversal | Parameter},
		{`/a\..\b`, Options{}, "/a%5C..%5Cb", Traversal | Backslash},
		{"/a/..%5cb", Options{}, "/a/..%5Cb", Traversal | Backslash},
		{"/a%5cb", Options{}, "/a%5Cb", Backslash},
		{"/%252e%252e/b", Options{}, "/%252e%252e/b", Traversal | DoubleEncoding},
		{"/%25252e%25252e/b", Options{}, "/%25252e%25252e/b", Traversal | DoubleEncoding},
		{"/..%252fb", Options{}, "/..%252fb", Traversal | DoubleEncoding},
		{"/%2561dmin", Options{}, "/%2561dmin", DoubleEncoding},
		{"/x%252Fy", Options{}, "/x%252Fy", DoubleEncoding},
		{"/x%255Cy", Options{}, "/x%255Cy", DoubleEncoding},
		{"/x%2500y", Options{}, "/x%2500y", DoubleEncoding},
		{"/%%32%65", Options{}, "/%252e", Encoding | DoubleEncoding},
		{"/" + strings.Repeat("%25", 3) + strings.Repeat("25", 20), Options{}, "/" + strings.Repeat("%25", 3) + strings.Repeat("25", 20), DoubleEncoding},
		{"/%c0%ae%c0%ae/b", Options{}, "/%C0%AE%C0%AE/b", Overlong},
		{"/%c0%af", Options{}, "/%C0%AF", Overlong},
		{"/%c1%9c", Options{}, "/%C1%9C", Overlong},
		{"/%e0%80%af", Options{}, "/%E0%80%AF", Overlong},
		{"/%f0%80%80%af", Options{}, "/%F0%80%80%AF", Overlong},
		{"/%e0%a0%80/%f0%90%80%80/%e9", Options{}, "/%E0%A0%80/%F0%90%80%80/%E9", 0},
		{"/a%00b", Options{}, "/a%00b", NUL},
		{"/a%0d%0ab", Options{}, "/a%0D%0Ab", Control},
		{"/a%7f", Options{}, "/a%7F", Control},
		{"/a;b=c/d", Options{}, "/a;b=c/d", Parameter},
		{"/%", Options{}, "/%25", Encoding},
		{"/%zz", Options{}, "/%25zz", Encoding},
		{"/%u002e", Options{}, "/%25u002e", Encoding},
		{"/%%36" + "1", Options{}, "/%2561", Encoding | DoubleEncoding},
	} {
		normal, faults := Path(test.raw, test.o)
		require.Equal(t, test.faults.String(), faults.String(), test.raw)
		require.Equal(t, test.normal, normal, test.raw)
	}
}

func TestQuery(t *testing.T) {
	for _, test := range []struct {
		raw, normal string
		faults      Fault
	}{
		{"", "", 0},
		{"b=2&a=1&a=1&c", "b=2&a=1&a=1&c", 0},
		{"q=%61%2f%2F+x%20", "q=a%2F%2F+x%20", 0},
		{"q=%7e%41", "q=~A", 0},
		{"q='<中\">", "q='%3C%E4%B8%AD%22%3E", 0},
		{"q=a b#c\td\x7f", "q=a%20b%23c%09d%7F", 0},
		{"q=a b\\^`{|}", "q=a%20b\\^`{|}", 0},
		{"q=\x00", "q=%00", QueryNUL},
		{"q=%61%zz %2f", "q=%61%zz%20%2f", QueryEncoding},
		{"q=% 41&%4 1", "q=%%2041&%4%201", QueryEncoding},
		{"q=%252e", "q=%252e", 0},
		{"q=%0d%0a", "q=%0D%0A", 0},
		{"q=100%", "q=100%", QueryEncoding},
		{"q=%61%zz%2f", "q=%61%zz%2f", QueryEncoding},
		{"%%361", "%%361", QueryEncoding},
		{"q=%00", "q=%00", QueryNUL},
	} {
		normal, faults := Query(test.raw)
		require.Equal(t, test.normal, normal)
		require.Equal(t, test.faults.String(), faults.String(), test.raw)
	}
}

func TestNormalPathsCostNothing(t *testing.T) {
	require.Zero(t, testing.AllocsPerRun(100, func() {
		Path("/assets/app.8f3a.js", Options{DotSegments: true, Slashes: true})
		Query("a=1&b=%2F")
	}))
}

// allowed are the bytes of a normal form.
func allowed(s string) bool {
	return strings.Trim(s, "-._~!$&'()*+,;=:@[]/%0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// climbs reports whether some way of reading a path leads up: decoded any number of
// times, with backslashes for slashes, parameters dropped or not.
func climbs(path string) bool {
	for range 40 {
		for segment := range strings.SplitSeq(strings.ReplaceAll(path, `\`, "/"), "/") {
			if name, _, _ := strings.Cut(segment, ";"); name == ".." {
				return true
			}
		}
		again, _ := decode(path)
		if again == path {
			return false
		}
		path = again
	}
	return false
}

// FuzzPath: a normal form is its own normal form, has no new faults, means the same,
// and whatever some server would climb up by is a fault.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/", "/a/../b", "/%2e%2e/", "/..;/a", `/\..\`, "/%252e", "/%c0%ae", "/%%36", "//a//.", "/.//x", "/a%2f..", "/%25%32%65%2e"} {
		for o := range byte(4) {
			f.Add(s, o)
		}
	}
	f.Fuzz(func(t *testing.T, raw string, option byte) {
		o := Options{DotSegments: option&1 != 0, Slashes: option&2 != 0}
		normal, faults := Path(raw, o)
		again, more := Path(normal, o)
		require.Equal(t, normal, again)
		require.Zero(t, more&^faults, "new faults: %s", more&^faults)
		require.True(t, allowed(normal), normal)
		if climbs(normal) {
			require.NotZero(t, faults&(Traversal|DoubleEncoding), normal)
		}
		if o.Slashes {
			require.NotContains(t, normal, "//")
		}
		if o == (Options{}) && faults&Encoding == 0 {
			before, err := url.PathUnescape(raw)
			require.NoError(t, err)
			after, err := url.PathUnescape(normal)
			require.NoError(t, err)
			require.Equal(t, before, after)
		}
		// What net/url makes of it is sent as it is.
		u := url.URL{RawPath: normal}
		u.Path, _ = url.PathUnescape(normal)
		require.Equal(t, normal, u.EscapedPath())
	})
}

// FuzzQuery: a normal form is its own normal form, has the same parameters, and nothing
// that would end a request line or a link.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{"a=1&b=2", "%%36", "q=%41%2f", "a=%", "+%2b", "a b#<\"\xff\x00", "% 20%61"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		normal, faults := Query(raw)
		again, more := Query(normal)
		require.Equal(t, normal, again)
		require.Equal(t, faults, more)
		for i := range len(normal) {
			require.True(t, normal[i] > ' ' && normal[i] < 0x7f && strings.IndexByte("#<>\"", normal[i]) < 0, normal)
		}
		before, err := url.ParseQuery(raw)
		after, again2 := url.ParseQuery(normal)
		require.Equal(t, err == nil, again2 == nil)
		require.Equal(t, before, after)
	})
}

func BenchmarkPath(b *testing.B) {
	for name, path := range map[string]string{"normal": "/assets/img/2024/photo-123.jpg", "escaped": "/%7euser/%e4%b8%ad/photo", "refused": "/a/%252e%252e/%252e%252e/etc/passwd"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Path(path, Options{})
			}
		})
	}
}
