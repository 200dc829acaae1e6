package purge

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgecache/object"
	"github.com/caddyedge/caddy-edge/edgecache/tier/memory"
)

func newObject(seq uint64, key, url string, tags ...string) *object.Object {
	return object.New(&object.Spec{Key: key, URL: url, Status: 200, Seq: seq, Tags: tags}, nil)
}

func TestPurgeMatches(t *testing.T) {
	const page = "https://example.com/blog/2024/a.html?x=1"
	for _, c := range []struct {
		kind  Kind
		value string
		url   string
		want  bool
	}{
		{URL, page, page, true},
		{URL, "HTTPS://Example.com:443/blog/2024/a.html?x=1#top", page, true},
		{URL, "example.com/blog/2024/a.html?x=1", page, true},
		{URL, "http://example.com/blog/2024/a.html?x=1", page, false},
		{URL, "https://example.com/blog/2024/a.html", page, false},
		{URL, "https://example.com/blog/2024/A.html?x=1", page, false},
		{URL, "https://example.com", "https://example.com/", true},
		{Key, "key", page, true},
		{Key, "other", page, false},
		{Tag, "news", page, true},
		{Tag, "new", page, false},
		{Tag, "News", page, false},
		{Host, "example.com", page, true},
		{Host, "EXAMPLE.com", page, true},
		{Host, "www.example.com", page, false},
		{Host, "example.com", "https://example.com:8443/", true},
		{Host, "example.com:8443", "https://example.com:8443/", true},
		{Host, "example.com:8444", "https://example.com:8443/", false},
		{Host, "example.com:8443", page, false},
		{Prefix, "example.com", page, true},
		{Prefix, "example.com/", page, true},
		{Prefix, "example.com/blog", page, true},
		{Prefix, "example.com/blog/", page, true},
		{Prefix, "https://example.com/blog?ignored", page, true},
		{Prefix, "/blog", page, true},
		{Prefix, "/", page, true},
		{Prefix, "example.com/blog/2024/a.html", page, true},
		{Prefix, "example.com/blo", page, false},
		{Prefix, "example.com/blog/2024/a.html/more", page, false},
		{Prefix, "example.org/blog", page, false},
		{Prefix, "example.com/blog", "https://example.com/blog", true},
		{Prefix, "example.com/blog", "https://example.com/blogs", false},
		{Prefix, "example.com/blog", "https://example.com:8443/blog/", true},
		{Prefix, "example.com:8443/blog", "https://example.com:8443/blog/", true},
		{Prefix, "example.com/" + strings.Repeat("d/", 40), "https://example.com/" + strings.Repeat("d/", 33), true},
		{Prefix, "example.com/" + strings.Repeat("d/", 40), "https://example.com/" + strings.Repeat("d/", 31), false},
		{Wildcard, "*", page, true},
		{Wildcard, "*.com/blog/*", page, true},
		{Wildcard, "*.COM", page, true},
		{Wildcard, "https://example.com/*.html?x=*", page, true},
		{Wildcard, "/blog/*", page, true},
		{Wildcard, "example.com/*.html", page, false},
		{Wildcard, "*.example.com/*", page, false},
		{Wildcard, "example.com/b*", "https://example.com:8443/b", true},
		{Wildcard, "example.com:*/b*", "https://example.com:8443/b", true},
		{All, "", page, true},
	} {
		for _, soft := range []bool{false, true} {
			table := New()
			o := newObject(table.Seq(), "key", c.url, "a", "news")
			require.Equal(t, Live, table.Check(o))
			require.Equal(t, uint64(1), table.Add(Purge{Kind: c.kind, Value: c.value, Soft: soft}))
			want := Live
			if c.want && soft {
				want = Soft
			} else if c.want {
				want = Gone
			}
			require.Equal(t, want, table.Check(o), "%s %q soft=%v on %q", c.kind, c.value, soft, c.url)
			require.Equal(t, want, table.Check(o), "the second answer differs from the first")
			require.Equal(t, want == Soft, o.Stale())
			require.Equal(t, Live, table.Check(newObject(table.Seq(), "key", c.url, "news")),
				"a fetch that started after the purge is not concerned")
		}
	}
}

func TestPurgeTakesAllVariants(t *testing.T) {
	table := New()
	table.Add(Purge{Kind: Tag, Value: "unrelated"})
	var variants []*object.Object
	for i := range 5 {
		variants = append(variants, newObject(table.Seq(), "https://h/a|variant "+strconv.Itoa(i), "https://h/a"))
	}
	table.Add(Purge{Kind: URL, Value: "https://h/a"})
	for _, o := range variants {
		require.Equal(t, Gone, table.Check(o))
	}
}

// A purge that arrives while the fetch is under way must hit its result, also
// when the result is stored later.
func TestPurgeDuringFetch(t *testing.T) {
	table := New()
	seq := table.Seq()
	table.Add(Purge{Kind: URL, Value: "https://h/a"})
	require.Equal(t, Gone, table.Check(newObject(seq, "k", "https://h/a")))
	require.Equal(t, Live, table.Check(newObject(seq, "k", "https://h/b")))
}

func TestSoftPurgeThenHard(t *testing.T) {
	table := New()
	o := newObject(table.Seq(), "k", "https://h/a", "t")
	table.Add(Purge{Kind: Tag, Value: "t", Soft: true})
	require.Equal(t, Soft, table.Check(o))
	require.Equal(t, Soft, table.Check(o))
	fresh := o.WithUpdated(nil, o.Freshness(), []string{"t"}, table.Seq())
	require.Equal(t, Live, table.Check(fresh))
	table.Add(Purge{Kind: Tag, Value: "t"})
	require.Equal(t, Gone, table.Check(o))
	require.Equal(t, Gone, table.Check(fresh))
}

func TestAddBatch(t *testing.T) {
	table := New()
	require.Equal(t, uint64(0), table.Add())
	a, b := newObject(0, "a", "https://h/a"), newObject(0, "b", "https://h/b")
	require.Equal(t, uint64(1), table.Add(Purge{Kind: Key, Value: "a"}, Purge{Kind: Key, Value: "b", Soft: true}))
	require.Equal(t, uint64(1), table.Seq())
	require.Equal(t, 2, table.Outstanding())
	require.Equal(t, Gone, table.Check(a))
	require.Equal(t, Soft, table.Check(b))
	table.Add(Purge{Kind: Key, Value: "a"})
	require.Equal(t, 2, table.Outstanding(), "a repeated purge takes no room")
}

func TestSweep(t *testing.T) {
	table := New()
	store := map[*object.Object]bool{}
	for i := range 1000 {
		store[newObject(table.Seq(), strconv.Itoa(i), fmt.Sprintf("https://h/%d/%d", i%10, i), "t"+strconv.Itoa(i%7))] = true
	}
	each := func(yield func(*object.Object) bool) {
		for o := range store {
			if !yield(o) {
				return
			}
		}
	}
	drop := func(o *object.Object) { delete(store, o) }
	require.Zero(t, table.Sweep(each, drop))
	require.True(t, table.Accept(0))

	table.Add(Purge{Kind: Prefix, Value: "h/3"}, Purge{Kind: Wildcard, Value: "h/*/1*"})
	table.Add(Purge{Kind: Tag, Value: "t5", Soft: true})
	early := newObject(0, "early", "https://h/3/early")
	require.Equal(t, 3, table.Outstanding())
	dropped := table.Sweep(each, drop)
	require.Equal(t, 1000-len(store), dropped)
	require.Positive(t, dropped)
	require.Zero(t, table.Outstanding())
	for o := range store {
		require.NotContains(t, o.URL(), "/3/")
		require.False(t, strings.HasPrefix(o.Key(), "1"), "%s", o.URL())
		require.NotEqual(t, Gone, table.Check(o), "what survived the sweep lives on")
		require.Equal(t, slices.Contains(slices.Collect(o.Tags), "t5"), o.Stale())
	}

	require.False(t, table.Accept(0), "a fetch from before the forgotten purges may not be stored")
	require.True(t, table.Accept(table.Seq()))
	require.Equal(t, Gone, table.Check(early), "one that was stored nevertheless is gone")
}

// Purges added while a sweep is under way must not be forgotten by it.
func TestSweepKeepsNewPurges(t *testing.T) {
	table := New()
	table.Add(Purge{Kind: Key, Value: "old"}, Purge{Kind: Wildcard, Value: "old/*"}, Purge{Kind: Prefix, Value: "h/old"})
	a, b, c := newObject(1, "a", "https://h/a"), newObject(1, "b", "https://wild/b"), newObject(1, "c", "https://h/deep/er/c")
	dropped := table.Sweep(func(yield func(*object.Object) bool) {
		for _, o := range []*object.Object{a, b, c} {
			yield(o)
		}
		table.Add(Purge{Kind: Key, Value: "a"}, Purge{Kind: Wildcard, Value: "wild/*"}, Purge{Kind: Prefix, Value: "h/deep/er"})
	}, func(*object.Object) { t.Error("nothing is purged yet") })
	require.Zero(t, dropped)
	require.Equal(t, 3, table.Outstanding())
	for _, o := range []*object.Object{a, b, c} {
		require.Equal(t, Gone, table.Check(o), "%s", o.Key())
	}
}

func TestTooManyPurgesPurgeEverything(t *testing.T) {
	table := New()
	for i := range MaxOutstanding {
		table.Add(Purge{Kind: Tag, Value: strconv.Itoa(i)})
	}
	require.Equal(t, MaxOutstanding, table.Outstanding())
	require.LessOrEqual(t, indexBytes(table), 12<<20)
	o := newObject(0, "k", "https://h/a", "unrelated")
	require.Equal(t, Live, table.Check(o))
	table.Add(Purge{Kind: Tag, Value: "7"})
	require.Equal(t, Live, table.Check(o), "a known purge takes no more room")
	table.Add(Purge{Kind: Tag, Value: "one too many"})
	require.Equal(t, Gone, table.Check(o))
	require.Equal(t, 1, table.Outstanding())
	require.Equal(t, Live, table.Check(newObject(table.Seq(), "k", "https://h/a")))
}

func indexBytes(t *Table) int {
	return len(t.state.Load().index.slots) * int(unsafe.Sizeof(slot{}))
}

// A purge of another tag every millisecond for a minute.
func TestManyTagPurgesTakeLittleMemory(t *testing.T) {
	table := New()
	for i := range 60_000 {
		table.Add(Purge{Kind: Tag, Value: strconv.Itoa(i)})
	}
	require.Equal(t, 60_000, table.Outstanding())
	require.LessOrEqual(t, indexBytes(table), 4<<20)
	table.Sweep(func(func(*object.Object) bool) {}, func(*object.Object) {})
	require.LessOrEqual(t, indexBytes(table), 4<<10)
}

// The lurker together with the tier it works on, while writers go on.
func TestSweepOfTheMemoryTier(t *testing.T) {
	table, store := New(), memory.New(64<<20)
	const n = 10_000
	for i := range n {
		store.Put(newObject(table.Seq(), strconv.Itoa(i), fmt.Sprintf("https://h/%d/%d", i%2, i)))
	}
	table.Add(Purge{Kind: Prefix, Value: "h/1"})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := range n {
			store.Put(newObject(table.Seq(), "new"+strconv.Itoa(i), "https://h/1/new"))
		}
	})
	require.Equal(t, n/2, table.Sweep(store.Range, func(o *object.Object) { store.Drop(o) }))
	writer.Wait()
	require.Equal(t, n/2+n, store.Stats().Entries)
	for o := range store.Range {
		require.Equal(t, Live, table.Check(o), "%s", o.URL())
	}
	table.Add(Purge{Kind: All})
	require.Equal(t, n/2+n, table.Sweep(store.Range, func(o *object.Object) { store.Drop(o) }))
	require.Zero(t, store.Ledger().Used())
}

func TestTooManyWildcardsPurgeEverything(t *testing.T) {
	table := New()
	for i := range MaxWildcards {
		table.Add(Purge{Kind: Wildcard, Value: fmt.Sprintf("x%d/*", i)})
	}
	o := newObject(0, "k", "https://h/a")
	require.Equal(t, Live, table.Check(o))
	table.Add(Purge{Kind: Wildcard, Value: "y/*"})
	require.Equal(t, Gone, table.Check(o))
	require.Equal(t, 1, table.Outstanding())
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		purge Purge
		err   string
	}{
		{Purge{Kind: All}, ""},
		{Purge{Kind: URL, Value: "https://h/"}, ""},
		{Purge{Kind: Host, Value: "h:1"}, ""},
		{Purge{Kind: URL}, "purge by url without a value"},
		{Purge{Kind: Host, Value: "h/a"}, `purge by host: "h/a" is not a host`},
		{Purge{Kind: 99, Value: "x"}, "unknown kind of purge 99"},
	} {
		if c.err == "" {
			require.NoError(t, c.purge.Validate())
		} else {
			require.EqualError(t, c.purge.Validate(), c.err)
		}
	}
}

func TestKindString(t *testing.T) {
	for k, want := range []string{"url", "key", "tag", "host", "prefix", "wildcard", "all", "kind(7)"} {
		require.Equal(t, want, Kind(k).String())
	}
}

var concurrentValues = [numKinds]string{
	URL: "https://h/a/b", Key: "k", Tag: "t", Host: "h", Prefix: "h/a", Wildcard: "h/*", All: "",
}
