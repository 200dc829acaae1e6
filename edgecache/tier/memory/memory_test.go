package memory

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/caddyedge/caddy-edge/edgecache/object"
)

func newObject(key string, size int) *object.Object {
	const chunk = 64 << 10
	var body [][]byte
	for size > 0 {
		n := min(size, chunk)
		body = append(body, make([]byte, n))
		size -= n
	}
	return object.New(&object.Spec{Key: key, Status: 200}, body)
}

var sharedChunk = make([]byte, 64<<10)

// newSharedObject returns an object that has all its large chunks in common with
// others, for tests of the ledger alone that want many.
func newSharedObject(key string, size int) *object.Object {
	if size <= object.FlatLimit {
		return newObject(key, size)
	}
	chunks := slices.Repeat([][]byte{sharedChunk}, size/len(sharedChunk))
	chunks = append(chunks, sharedChunk[:size%len(sharedChunk)])
	return object.New(&object.Spec{Key: key, Status: 200}, chunks)
}

// requireBalanced checks that the ledger holds exactly what is stored and
// reserved.
func requireBalanced(t require.TestingT, m *Memory, reserved int64) {
	var sum int64
	entries := 0
	for o := range m.Range {
		sum += o.Weight()
		entries++
	}
	stats := m.Stats()
	require.Equal(t, sum, stats.Bytes)
	require.Equal(t, sum+reserved, m.Ledger().Used())
	require.Equal(t, reserved, stats.Reserved)
	require.Equal(t, entries, stats.Entries)
	require.LessOrEqual(t, m.Ledger().Peak(), stats.Budget)
}

func TestPutGetDelete(t *testing.T) {
	m := New(1 << 20)
	a, b := newObject("a", 100), newObject("b", 100)
	require.True(t, m.Put(a))
	require.True(t, m.Put(b))
	got, ok := m.Get("a")
	require.True(t, ok)
	require.Same(t, a, got)
	_, ok = m.Get("c")
	require.False(t, ok)

	replaced := newObject("a", 5000)
	require.True(t, m.Put(replaced))
	got, _ = m.Get("a")
	require.Same(t, replaced, got)
	require.True(t, m.Put(replaced), "storing the same object again")
	requireBalanced(t, m, 0)

	require.False(t, m.Drop(a), "another object has its place")
	require.True(t, m.Drop(replaced))
	require.False(t, m.Drop(replaced))
	_, ok = m.Get("a")
	require.False(t, ok)
	m.Delete("b")
	m.Delete("c")
	require.Zero(t, m.Ledger().Used())
	require.Zero(t, m.Stats().Entries)
	requireBalanced(t, m, 0)
}

// Two keys with one hash: the later one displaces the other, and neither is
// taken for the other.
func TestHashCollision(t *testing.T) {
	m := New(1 << 20)
	m.cache.Set(m.hash("mine"), newObject("foreign", 10))
	_, ok := m.Get("mine")
	require.False(t, ok)
	_, ok = m.cache.GetIfPresent(m.hash("mine"))
	require.True(t, ok)
	m.Delete("mine")
	_, ok = m.cache.GetIfPresent(m.hash("mine"))
	require.True(t, ok, "the other's object was deleted")
}

func TestReplacedObjectIsNotRetained(t *testing.T) {
	m := New(1 << 20)
	collected := make(chan struct{})
	func() {
		o := newObject("key", 20_000)
		runtime.AddCleanup(o, func(struct{}) { close(collected) }, struct{}{})
		require.True(t, m.Put(o))
	}()
	require.True(t, m.Put(newObject("key", 10)))
	// A cleanup runs after the collection that found the object.
	for range 100 {
		runtime.GC()
		select {
		case <-collected:
			runtime.KeepAlive(m)
			return
		default:
			runtime.Gosched()
		}
	}
	t.Fatal("the tier still holds a replaced object")
}

func TestPutReserved(t *testing.T) {
	m := New(100_000)
	o := newObject("a", 1000)
	w := o.Weight()

	require.True(t, m.Reserve(3*w))
	require.True(t, m.PutReserved(o, 3*w), "more was reserved than needed")
	requireBalanced(t, m, 0)

	require.True(t, m.Reserve(10))
	require.True(t, m.PutReserved(newObject("b", 1000), 10), "less was reserved than needed")
	requireBalanced(t, m, 0)

	require.True(t, m.Reserve(500))
	requireBalanced(t, m, 500)
	m.Release(500)
	requireBalanced(t, m, 0)
}

func TestObjectsThatDoNotFit(t *testing.T) {
	m := New(100_000)
	small := newObject("a", 10)
	require.True(t, m.Put(small))
	require.False(t, m.Put(newObject("a", 95_000)))
	require.True(t, m.Reserve(95_000))
	require.False(t, m.PutReserved(newObject("a", 95_000), 95_000), "fits the budget but not otter's part")
	require.Equal(t, uint64(2), m.Stats().Rejected)
	got, ok := m.Get("a")
	require.True(t, ok)
	require.Same(t, small, got, "what was there remains")
	requireBalanced(t, m, 0)
}

func TestReserveEvicts(t *testing.T) {
	m := New(1 << 20)
	for i := range 1000 {
		m.Put(newObject(strconv.Itoa(i), 1000))
	}
	before := m.Stats()
	require.Greater(t, before.Bytes, int64(800<<10))
	const share = 1 << 20 / reservedShare
	require.True(t, m.Reserve(share-50_000))
	after := m.Stats()
	require.LessOrEqual(t, after.Bytes, int64(1<<20-share+50_000))
	require.GreaterOrEqual(t, after.Bytes, int64(1<<20-share-reclaimAtLeast), "no more was evicted than needed")
	require.Greater(t, after.Evictions, before.Evictions)
	requireBalanced(t, m, share-50_000)

	require.True(t, m.Reserve(50_000))
	after = m.Stats()
	require.False(t, m.Reserve(1<<20-share-after.Bytes+1), "more than the share, if objects had to go")
	require.Equal(t, after.Entries, m.Stats().Entries, "nothing was evicted in vain")
	require.True(t, m.Reserve(1<<20-share-after.Bytes), "what is free may be had")
	require.True(t, m.Put(newObject("x", 100_000)), "an object still displaces others")
	require.Less(t, m.Stats().Entries, after.Entries)
	requireBalanced(t, m, 1<<20-after.Bytes)
}

func TestReserveAll(t *testing.T) {
	m := New(1 << 20)
	require.True(t, m.Reserve(1<<20), "an empty tier is free")
	require.False(t, m.Reserve(1))
	require.False(t, m.Put(newObject("x", 1)))
	m.Release(1 << 20)
	require.True(t, m.Put(newObject("x", 1)))
	requireBalanced(t, m, 0)
}

// TestReservationsLeaveTheHotSet: one client that begins many downloads of its
// own must not empty the tier.
func TestReservationsLeaveTheHotSet(t *testing.T) {
	const budget = 64 << 20
	m := New(budget)
	keys := 0
	for ; m.Stats().Bytes < budget*3/4-(32<<10); keys++ {
		m.Put(newSharedObject(strconv.Itoa(keys), 16<<10))
	}
	before := m.Stats().Entries
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 8 {
				m.Reserve(1 << 20)
			}
		})
	}
	wg.Wait()
	require.Equal(t, int64(budget/reservedShare), m.Stats().Reserved)
	require.Equal(t, before, m.Stats().Entries)
}

// TestLargeBodiesFindRoom: a full tier takes a body of a quarter of its budget,
// and then the next.
func TestLargeBodiesFindRoom(t *testing.T) {
	const budget, piece, size = 64 << 20, 1 << 20, 15 << 20
	m := New(budget)
	for i := range 2 * budget / (16 << 10) {
		m.Put(newSharedObject(strconv.Itoa(i), 16<<10))
	}
	for i := range 6 {
		for range size / piece {
			require.True(t, m.Reserve(piece))
		}
		require.True(t, m.PutReserved(newSharedObject(fmt.Sprint("large ", i), size), size))
		requireBalanced(t, m, 0)
	}
}

func TestReserveKeepsTheHotObjects(t *testing.T) {
	m := New(1 << 20)
	for i := range 1000 {
		m.Put(newObject(strconv.Itoa(i), 1000))
		m.Get(strconv.Itoa(i % 50))
	}
	for range 20 {
		for i := range 50 {
			m.Get(strconv.Itoa(i))
		}
	}
	require.True(t, m.Reserve(1<<20/reservedShare))
	kept := 0
	for i := range 50 {
		if _, ok := m.Get(strconv.Itoa(i)); ok {
			kept++
		}
	}
	require.GreaterOrEqual(t, kept, 45)
}

func TestSetBudget(t *testing.T) {
	m := New(1 << 20)
	for i := range 1000 {
		m.Put(newObject(strconv.Itoa(i), 1000))
	}
	m.SetBudget(100_000)
	require.LessOrEqual(t, m.Ledger().Used(), int64(100_000))
	require.Positive(t, m.Stats().Entries)
	require.Equal(t, int64(100_000), m.Stats().Budget)
	require.False(t, m.Put(newObject("big", 150_000)))
	m.SetBudget(1 << 20)
	require.True(t, m.Put(newObject("big", 150_000)))
	_, ok := m.Get("big")
	require.True(t, ok)
}

func TestClose(t *testing.T) {
	m := New(1 << 20)
	for i := range 1000 {
		m.Put(newObject(strconv.Itoa(i), 500))
	}
	m.Close()
	require.Zero(t, m.Ledger().Used())
	require.Zero(t, m.Stats().Entries)
}

func TestWithoutBudget(t *testing.T) {
	m := New(0)
	require.False(t, m.Put(newObject("a", 1)))
	require.False(t, m.Reserve(1))
	require.True(t, m.Reserve(0))
}

// The budget holds at every object size while eight writers press, and
// everything adds up afterwards.
func TestBudgetIsHard(t *testing.T) {
	for _, c := range []struct {
		name         string
		size, writes int
		budget       int64
	}{
		{"1KiB", 1 << 10, 8000, 16 << 20},
		{"8KiB", 8 << 10, 3000, 16 << 20},
		{"64KiB", 64 << 10, 2000, 32 << 20},
		{"512KiB", 512 << 10, 300, 64 << 20},
		{"8MiB", 8 << 20, 30, 128 << 20},
		{"mixed", 0, 1000, 64 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := New(c.budget)
			var wg sync.WaitGroup
			for writer := range 8 {
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(1, uint64(writer)))
					for i := range c.writes {
						size := c.size
						if size == 0 {
							size = 1 << (10 + rnd.IntN(13))
						}
						key := fmt.Sprint(writer, " ", i)
						if i%3 == 0 {
							key = fmt.Sprint("shared ", rnd.IntN(50))
						}
						// As a spool does: reserve piece by piece, then store.
						var reserved int64
						for want := int64(size); want > 0; want -= 64 << 10 {
							if piece := min(want, 64<<10); m.Reserve(piece) {
								reserved += piece
							}
						}
						m.PutReserved(newSharedObject(key, size), reserved)
						m.Get(key)
						if i%7 == 0 {
							m.Delete(key)
						}
					}
				})
			}
			wg.Wait()
			m.cache.CleanUp()
			stats := m.Stats()
			t.Logf("peak %.4f of the budget, %d entries, %d evictions, %d rejected",
				float64(stats.Peak)/float64(stats.Budget), stats.Entries, stats.Evictions, stats.Rejected)
			require.LessOrEqual(t, stats.Peak, c.budget)
			require.Greater(t, stats.Bytes, c.budget/2, "the budget is used")
			require.Equal(t, uint64(stats.Bytes), m.cache.WeightedSize(), "otter counts the same")
			requireBalanced(t, m, 0)

			for o := range m.Range {
				m.Delete(o.Key())
			}
			require.Zero(t, m.Ledger().Used())
			requireBalanced(t, m, 0)
		})
	}
}

// The ledger must tell the truth: what it counts is what the heap holds, at
// every size of objects.
func TestLedgerEqualsHeap(t *testing.T) {
	for _, size := range []int{1 << 10, 10 << 10, 100 << 10, 8 << 20} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			budget := max(24<<20, 12*size)
			before := liveHeap()
			m := New(int64(budget))
			for i := range 2 * budget / size {
				m.Put(newObject("https://www.example.com/some/page-"+strconv.Itoa(i), size))
			}
			live := liveHeap() - before
			used := m.Ledger().Used()
			t.Logf("ledger %d, heap %d: %.3f", used, live, float64(live)/float64(used))
			require.InEpsilon(t, used, live, 0.04)
			require.LessOrEqual(t, live, int64(budget*102/100))
			runtime.KeepAlive(m)
		})
	}
}

func liveHeap() int64 {
	// Twice: what was still being swept counts as live the first time.
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// page returns an object of 1 KiB with eight ordinary header fields.
func page(i int) *object.Object {
	url := "https://www.example.com/articles/page-" + strconv.Itoa(1_000_000+i)
	return object.New(&object.Spec{
		Key: url + "|", URL: url, Status: 200,
		Header: http.Header{
			"Content-Type":   {"text/html; charset=utf-8"},
			"Content-Length": {"1024"},
			"Cache-Control":  {"public, max-age=3600"},
			"Date":           {"Sun, 22 Nov 2026 00:48:00 GMT"},
			"Last-Modified":  {"Sat, 21 Nov 2026 00:48:00 GMT"},
			"Etag":           {`"5f3a-5f2b1c` + strconv.Itoa(i) + `"`},
			"Server":         {"nginx"},
			"Vary":           {"Accept-Encoding"},
		},
	}, [][]byte{make([]byte, 1024)})
}

func TestMemoryPerObject(t *testing.T) {
	const n = 100_000
	before := liveHeap()
	m := New(170 << 20)
	for i := range n {
		m.Put(page(i))
	}
	perObject := float64(liveHeap()-before) / n
	require.Equal(t, n, m.Stats().Entries)
	weight := float64(m.Ledger().Used()) / n
	t.Logf("%.0f bytes of live heap per object of 1 KiB; it weighs %.0f", perObject, weight)
	require.LessOrEqual(t, perObject, 1600.0)
	require.InEpsilon(t, weight, perObject, 0.03)
	runtime.KeepAlive(m)
}

// TestMemoryEqualsMap compares the tier, while it is not full, with a map.
func TestMemoryEqualsMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := New(1 << 30)
		model := map[string]*object.Object{}
		var reserved int64
		key := rapid.StringMatching(`[a-e]`)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				o := newObject(key.Draw(t, "key"), rapid.IntRange(0, 100_000).Draw(t, "size"))
				spool := rapid.Int64Range(0, 100_000).Draw(t, "spool")
				require.True(t, m.Reserve(spool))
				require.True(t, m.PutReserved(o, spool))
				model[o.Key()] = o
			},
			"reserve": func(t *rapid.T) {
				n := rapid.Int64Range(0, 1000).Draw(t, "bytes")
				require.True(t, m.Reserve(n))
				reserved += n
			},
			"delete": func(t *rapid.T) {
				k := key.Draw(t, "key")
				m.Delete(k)
				delete(model, k)
			},
			"drop": func(t *rapid.T) {
				k := key.Draw(t, "key")
				if o, ok := model[k]; ok {
					require.True(t, m.Drop(o))
					delete(model, k)
				}
			},
			"": func(t *rapid.T) {
				stored := map[string]*object.Object{}
				for o := range m.Range {
					stored[o.Key()] = o
				}
				require.True(t, maps.Equal(model, stored))
				requireBalanced(t, m, reserved)
			},
		})
	})
}
