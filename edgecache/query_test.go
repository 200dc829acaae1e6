package edgecache

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQueryRules(t *testing.T) {
	tests := []struct {
		name  string
		rules *Query
		raw   string
		want  string
	}{
		{"no rules", nil, "b=1&a=2&&utm_source=x", "b=1&a=2&&utm_source=x"},
		{"empty rules", &Query{}, "b=1&a=2", "b=1&a=2"},
		{"none", &Query{None: true}, "a=1", ""},
		{"sort by name, stable", &Query{Sort: true}, "b=2&a=2&b=1&a=1", "a=2&a=1&b=2&b=1"},
		{"sort by decoded name", &Query{Sort: true}, "b=1&%61=2", "%61=2&b=1"},
		{"allow", &Query{Allow: []string{"a", "p_*"}}, "a=1&b=2&p_x=3&ap=4", "a=1&p_x=3"},
		{"allow sees encoded names", &Query{Allow: []string{"a b"}}, "a+b=1&a%20b=2&ab=3", "a+b=1&a%20b=2"},
		{"ignore", &Query{Ignore: []string{"x"}}, "x&x=1&y=x&xx=1", "y=x&xx=1"},
		{"ignore everything", &Query{Ignore: []string{"*"}}, "a=1&b=2", ""},
		{"tracking", &Query{Ignore: []string{"tracking", "own"}}, "utm_a=1&gclid=2&%75tm_b=3&own=4&id=5", "id=5"},
		{"broken encoding is kept as it is", &Query{Ignore: []string{"%zz"}}, "%zz=1&%zy=2", "%zy=2"},
		{"forward_ignored", &Query{Ignore: []string{"a"}, ForwardIgnored: true}, "a=1&b=2", "b=2"},
		{"case counts", &Query{Ignore: []string{"a"}}, "A=1", "A=1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.rules.compile()
			require.Equal(t, tt.want, r.apply(tt.raw))
		})
	}
}

func TestQueryValidate(t *testing.T) {
	tests := []struct {
		rules Query
		want  string
	}{
		{Query{Sort: true, Ignore: []string{"tracking"}}, ""},
		{Query{None: true, ForwardIgnored: true}, ""},
		{Query{Allow: []string{"a"}, Ignore: []string{"b"}}, "query allow and query ignore exclude one another"},
		{Query{None: true, Sort: true}, "query none excludes the other query options"},
		{Query{Sort: true, ForwardIgnored: true}, "no parameter is ignored"},
		{Query{Ignore: []string{""}}, "empty parameter name"},
		{Query{Allow: []string{"a", ""}}, "empty parameter name"},
	}
	for _, tt := range tests {
		err := tt.rules.validate()
		if tt.want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, tt.want)
		require.ErrorContains(t, err, "edge_cache: key: query")
	}
}

// FuzzQuery: rules only drop and move whole parameters, drop what they should,
// and are done after one application.
func FuzzQuery(f *testing.F) {
	f.Add("a=1&b=2&utm_source=x", uint8(0))
	f.Add("b&a&%61=1&&=", uint8(1))
	f.Add("q=%zz&a+b=1;c", uint8(2))
	f.Add("utm_=1", uint8(7))
	f.Fuzz(func(t *testing.T, raw string, which uint8) {
		q := &Query{Sort: which&1 != 0}
		switch which >> 1 & 3 {
		case 1:
			q.Allow = []string{"a", "b*"}
		case 2:
			q.Ignore = []string{"a", "tracking"}
		case 3:
			q.None, q.Sort = true, false
		}
		require.NoError(t, q.validate())
		r := q.compile()
		got := r.apply(raw)
		require.Equal(t, got, r.apply(got), "it is done after one application")
		if r == nil {
			require.Equal(t, raw, got)
			return
		}
		if got == "" {
			return
		}
		dropped := strings.Split(raw, "&")
		kept := map[string]bool{}
		for p := range strings.SplitSeq(got, "&") {
			i := slices.Index(dropped, p)
			require.GreaterOrEqual(t, i, 0, "parameter %q comes from nowhere", p)
			dropped = slices.Delete(dropped, i, i+1)
			name := paramName(p)
			switch {
			case len(q.Allow) > 0:
				require.True(t, name == "a" || strings.HasPrefix(name, "b"), "%q was not allowed", p)
			case len(q.Ignore) > 0:
				require.False(t, name == "a" || name == "gclid" || strings.HasPrefix(name, "utm_") && !strings.Contains(name, "/"), "%q is ignored", p)
			}
			kept[name] = true
		}
		if len(q.Allow) == 0 && len(q.Ignore) == 0 {
			require.Empty(t, dropped)
		}
		if q.Sort {
			require.True(t, slices.IsSortedFunc(strings.Split(got, "&"), func(a, b string) int {
				return strings.Compare(paramName(a), paramName(b))
			}))
		}
		for name := range kept {
			only := func(list []string) []string {
				return slices.DeleteFunc(slices.Clone(list), func(p string) bool { return paramName(p) != name })
			}
			require.Equal(t, only(strings.Split(raw, "&")), only(strings.Split(got, "&")), "parameters of one name keep their order")
		}
	})
}

// TestQueryNamesHaveOneWildcard: brackets, which PHP and Rails put into names,
// stand for themselves, and a star for anything.
func TestQueryNamesHaveOneWildcard(t *testing.T) {
	for _, tt := range []struct {
		query     Query
		raw, want string
	}{
		{Query{Allow: []string{"page", "filter[price]"}}, "page=1&filter[price]=5&filterp=6", "page=1&filter[price]=5"},
		{Query{Allow: []string{"filter[price]"}}, "filter%5Bprice%5D=5", "filter%5Bprice%5D=5"},
		{Query{Allow: []string{"ids[]"}}, "ids[]=1&ids=2&ids[]=3", "ids[]=1&ids[]=3"},
		{Query{Ignore: []string{"utm_*"}}, "utm_a/b=1&a=1", "a=1"},
		{Query{Ignore: []string{"a?", `b\*`}}, `aa=1&a?=2&b*=3&b\c=4`, "aa=1&b*=3"},
	} {
		require.NoError(t, tt.query.validate())
		require.Equal(t, tt.want, tt.query.compile().apply(tt.raw))
	}
}

func TestBypassCookiesHaveOneWildcard(t *testing.T) {
	n := 0
	g, cleanup := newRig(t, `{"bypass_cookies": ["cart[*", "s/*"]}`, answering(&n, 200, "x", "Cache-Control: max-age=60"))
	defer cleanup()
	for i, cookie := range []string{"cart[1]=x", "s/a/b=x", "c=x", "c=x"} {
		got := g.get("http://example.com/", "Cookie: "+cookie).cacheStatus()
		require.Equal(t, i < 2, strings.Contains(got, "fwd=bypass"), "%s: %s", cookie, got)
	}
}
