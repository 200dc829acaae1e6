package memory

// go test -run '^$' -bench . -cpu 1,2 ./edgecache/tier/memory

import (
	"strconv"
	"sync/atomic"
	"testing"
)

func BenchmarkGet(b *testing.B) {
	m := New(64 << 20)
	keys := make([]string, 1024)
	for i := range keys {
		o := page(i)
		m.Put(o)
		keys[i] = o.Key()
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, ok := m.Get(keys[i%len(keys)]); !ok {
				b.Error("not stored")
				return
			}
		}
	})
}

func BenchmarkGetMiss(b *testing.B) {
	m := New(64 << 20)
	b.ReportAllocs()
	for b.Loop() {
		m.Get("https://www.example.com/articles/no-such-page")
	}
}

// Every object has a key of its own; the time per object must not depend on how
// full the tier is or how many there were.
func BenchmarkPutDistinct(b *testing.B) {
	for _, budget := range []int64{1 << 20, 16 << 20, 256 << 20} {
		b.Run(strconv.FormatInt(budget>>20, 10)+"MiB", func(b *testing.B) {
			m := New(budget)
			var next atomic.Int64
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					m.Put(newObject(strconv.FormatInt(next.Add(1), 10), 1024))
				}
			})
		})
	}
}

// The tier is full of reservations, so that the ledger and not otter makes room.
func BenchmarkPutReclaiming(b *testing.B) {
	m := New(64 << 20)
	if !m.Reserve(32 << 20) {
		b.Fatal("no room")
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.Put(newObject(strconv.Itoa(i), 1024))
	}
}
