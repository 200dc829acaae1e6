package purge

// go test -run '^$' -bench . -cpu 1,2 ./edgecache/purge

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

const benchURL = "https://www.example.com/articles/2024/11/some-page.html?id=17"

func benchTable(outstanding int) *Table {
	t := New()
	for i := range outstanding {
		t.Add(Purge{Kind: Tag, Value: "tag" + strconv.Itoa(i)})
	}
	return t
}

func BenchmarkCheckNothingNew(b *testing.B) {
	t := benchTable(10_000)
	o := newObject(t.Seq(), "k", benchURL, "a", "b")
	b.ReportAllocs()
	for b.Loop() {
		if t.Check(o) != Live {
			b.Fatal("not live")
		}
	}
}

// A new purge before every check, of the kind in the name, with 10,000 tag
// purges outstanding.
func BenchmarkCheckNew(b *testing.B) {
	for kind, value := range concurrentValues {
		if Kind(kind) == All {
			continue
		}
		b.Run(Kind(kind).String(), func(b *testing.B) {
			t := benchTable(10_000)
			o := newObject(t.Seq(), "key of the object", benchURL, "a", "b")
			latest := t.Add(Purge{Kind: Kind(kind), Value: "x" + value})
			// For ever new, so that each check looks the object up again.
			t.newest[kind].Store(latest + 1)
			b.ReportAllocs()
			for b.Loop() {
				if t.check(o, latest) != Live {
					b.Fatal("not live")
				}
			}
		})
	}
}

func BenchmarkAdd(b *testing.B) {
	t := New()
	purges := make([]Purge, 100_000)
	for i := range purges {
		purges[i] = Purge{Kind: Tag, Value: "tag" + strconv.Itoa(i)}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		t.Add(purges[i%len(purges)])
	}
}

func TestCheckDoesNotAllocate(t *testing.T) {
	table := benchTable(100)
	o := newObject(table.Seq(), "k", benchURL, "a", "b")
	for kind, value := range concurrentValues {
		if Kind(kind) == All {
			continue
		}
		table.Add(Purge{Kind: Kind(kind), Value: "x" + value})
	}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		q := query{table: table, state: table.state.Load(), object: o}
		if q.run() != Live {
			t.Error("not live")
		}
	}))
}

// With so many other fetches under way.
func BenchmarkBeginEnd(b *testing.B) {
	for _, others := range []int{0, 1000} {
		b.Run("fetches-"+strconv.Itoa(others), func(b *testing.B) {
			t := New()
			for range others {
				t.Begin()
				t.Add(Purge{Kind: All})
			}
			b.ReportAllocs()
			for b.Loop() {
				t.End(t.Begin())
			}
		})
	}
}
