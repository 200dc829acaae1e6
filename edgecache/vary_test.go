package edgecache

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/caddyedge/caddy-edge/edgecache/object"
)

func TestAppendVariant(t *testing.T) {
	names := []string{"Accept-Language", "X-A"}
	tests := []struct {
		name string
		a, b http.Header
		same bool
	}{
		{"both absent", http.Header{}, http.Header{"X-B": {"1"}}, true},
		{"absent and empty", http.Header{}, http.Header{"X-A": {""}}, false},
		{"space around commas", http.Header{"X-A": {"a ,\tb"}}, http.Header{"X-A": {" a,b "}}, true},
		{"one line or two", http.Header{"X-A": {"a, b"}}, http.Header{"X-A": {"a", "b"}}, true},
		{"order counts", http.Header{"X-A": {"a, b"}}, http.Header{"X-A": {"b, a"}}, false},
		{"case counts", http.Header{"X-A": {"a"}}, http.Header{"X-A": {"A"}}, false},
		{"languages have no case", http.Header{"Accept-Language": {"EN-us"}}, http.Header{"Accept-Language": {"en-US"}}, true},
		{"space within quotes", http.Header{"X-A": {`"a , b"`}}, http.Header{"X-A": {`"a,b"`}}, false},
		{"values do not move between fields", http.Header{"X-A": {"a"}}, http.Header{"Accept-Language": {"a"}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.same, selects(names, tt.a, tt.b))
			require.Equal(t, tt.same, selects(names, tt.b, tt.a))
		})
	}
	_, ok := appendVariant(nil, names, http.Header{"X-A": {"a\x00b"}})
	require.False(t, ok)
	key, ok := appendVariant([]byte("primary"), nil, http.Header{"X-A": {"a"}})
	require.True(t, ok)
	require.Equal(t, "primary", string(key))
}

// FuzzVariant: two requests select one variant exactly when the named fields
// are the same lists; other fields don't matter.
func FuzzVariant(f *testing.F) {
	f.Add("a", "b", "a ", "b", true, true)
	f.Add("a,b", "", "a , b", "", true, false)
	f.Add("\x05X-B=", "", "", "\x05X-B=", true, true)
	f.Add(`"a , b"`, "c", `"a,b"`, "c", true, true)
	f.Fuzz(func(t *testing.T, a1, a2, b1, b2 string, presentA, presentB bool) {
		header := func(one, two string, present bool) http.Header {
			h := http.Header{"X-A": {one}, "X-Other": {one + two}}
			if present {
				h["X-B"] = []string{two}
			}
			return h
		}
		slow := func(h http.Header) string {
			parts := []string{}
			for _, name := range []string{"X-A", "X-B"} {
				v, ok := h[name]
				if !ok {
					parts = append(parts, "absent")
					continue
				}
				line := strings.Trim(v[0], " \t")
				if !strings.Contains(line, `"`) {
					members := strings.Split(line, ",")
					for i := range members {
						members[i] = strings.Trim(members[i], " \t")
					}
					line = strings.Join(members, ",")
				}
				parts = append(parts, fmt.Sprintf("%q", line))
			}
			return strings.Join(parts, " ")
		}
		a, b := header(a1, a2, presentA), header(b1, b2, presentB)
		names := []string{"X-A", "X-B"}
		ka, okA := appendVariant(nil, names, a)
		kb, okB := appendVariant(nil, names, b)
		require.Equal(t, strings.Contains(slow(a), `\x00`), !okA)
		if okA && okB {
			require.Equal(t, slow(a) == slow(b), string(ka) == string(kb))
		}
	})
}

func TestUnion(t *testing.T) {
	require.Empty(t, union(nil, nil))
	require.Equal(t, []string{"A", "B", "C"}, union([]string{"C", "A"}, []string{"B", "A"}))
}

// freeVariants is an index that nobody pays for.
func freeVariants() *variants {
	return newVariants(func() int64 { return maxVariantBytes }, func(int64) {})
}

func TestVariantsAreBoundedPerResource(t *testing.T) {
	v := freeVariants()
	require.Empty(t, v.add("p", "1", 2))
	require.Empty(t, v.add("p", "2", 2))
	require.Empty(t, v.add("p", "1", 2), "it is there already, and the newest now")
	require.Equal(t, []string{"2"}, v.add("p", "3", 2))
	require.Equal(t, []string{"1"}, v.add("p", "4", 2))
	require.Empty(t, v.add("q", "1", 2), "another resource")
	require.Empty(t, v.add("p", "5", 3))
	require.Equal(t, []string{"3", "4", "5"}, v.add("p", "6", 1), "the limit was lowered")
}

// TestVariantsAreCountedOverReloads: each new configuration has new handlers,
// that must not bring each URL as many variants again.
func TestVariantsAreCountedOverReloads(t *testing.T) {
	const config = `{"max_variants": 2}`
	n := 0
	origin := answering(&n, 200, "x", "Cache-Control: max-age=60", "Vary: X-A")
	g, cleanup := newRig(t, config, origin)
	for i := range 6 {
		g.get("http://example.com/", fmt.Sprintf("X-A: %d", i))
		next, cleanupNext := newRig(t, config, origin)
		cleanup()
		g, cleanup = next, cleanupNext
	}
	defer cleanup()
	variants := 0
	for o := range g.shared.memory.Range {
		if o.Kind() == object.Response {
			variants++
		}
	}
	require.Equal(t, 2, variants)
}

// TestVariantsProperty: a resource never has more variants than the maximum, the
// oldest goes, and the memory stays within its bound however the keys come.
func TestVariantsProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.IntRange(1, 4).Draw(rt, "max")
		v := freeVariants()
		model := map[string][]string{}
		for range rapid.IntRange(1, 60).Draw(rt, "adds") {
			primary := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "primary")
			variant := primary + string(rapid.ByteRange('a', 'h').Draw(rt, "variant"))
			set := model[primary]
			for i, k := range set {
				if k == variant {
					set = append(set[:i:i], set[i+1:]...)
					break
				}
			}
			var want []string
			if len(set) >= limit {
				want, set = set[:1:1], set[1:]
			}
			model[primary] = append(set, variant)
			require.Equal(rt, want, v.add(primary, variant, limit), "adding %q", variant)
		}
	})
}

func TestVariantsMemoryIsBounded(t *testing.T) {
	v := freeVariants()
	size := func(m map[string][]string) (n int) {
		for primary, set := range m {
			n += len(primary)
			for _, k := range set {
				n += len(k)
			}
		}
		return n
	}
	const keyBytes = 16 << 10
	for round := range 40 {
		// The same resources come again and again with another variant.
		for i := range 60 {
			primary := fmt.Sprintf("%d%s", i, strings.Repeat("p", keyBytes))
			v.add(primary, fmt.Sprintf("%s v%d", primary, round), 64)
			require.LessOrEqual(t, size(v.young), maxVariantBytes+65*keyBytes*2)
		}
	}
	require.LessOrEqual(t, size(v.old), maxVariantBytes+65*keyBytes*2)
}
