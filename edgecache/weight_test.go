package edgecache

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgecache/purge"
)

// liveHeap returns the bytes that are reachable. Two collections empty the pools.
func liveHeap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// discard is a client that keeps nothing.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

// fixedHeap is what the store takes beside what it counts: the tables of the replacement
// policy in their smallest sizes, which are made with the first objects, and what the test
// itself holds. perRequest is what one request under way takes beside its body: the
// requests of client and fetch with their contexts, and the flight.
const (
	fixedHeap  = 1 << 20
	perRequest = 16 << 10
)

// requireCounted holds the heap against the ledger, and the ledger against the budget.
func requireCounted(t *testing.T, g *rig, base int64, underWay int, what string) {
	t.Helper()
	heap := liveHeap() - base
	used := g.shared.memory.Ledger().Used()
	require.LessOrEqual(t, heap, used+used/50+fixedHeap+int64(underWay)*perRequest, "%s: %d bytes are counted", what, used)
	require.LessOrEqual(t, g.shared.memory.Ledger().Peak(), g.shared.memory.Ledger().Budget(), what)
}

// TestRealMemoryUnderWriters: with eight writers at a time, and in the middle of their
// responses too, the heap is no larger than what is counted.
func TestRealMemoryUnderWriters(t *testing.T) {
	const (
		budget  = 32 << 20
		writers = 8
	)
	for _, size := range []int{1 << 10, 20 << 10, 300 << 10, 3 << 20} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d bytes, announced %t", size, known), func(t *testing.T) {
				body := pattern(size)
				var half, more chan struct{} // of the writers that stop in the middle
				g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Cache-Control", "max-age=3600")
					w.Header().Set("Surrogate-Key", "a b")
					if known {
						w.Header().Set("Content-Length", strconv.Itoa(size))
					}
					_, _ = w.Write(body[:size/2])
					if half != nil {
						half <- struct{}{}
						<-more
					}
					_, _ = w.Write(body[size/2:])
				})
				defer cleanup()
				g.shared.memory.SetBudget(budget)
				base := liveHeap()
				var next int
				round := func(each int) *sync.WaitGroup {
					var done sync.WaitGroup
					for range writers {
						first := next
						next += each
						done.Go(func() {
							for i := range each {
								g.serve(&discard{make(http.Header)}, httptest.NewRequest(http.MethodGet, fmt.Sprintf("http://example.com/%d", first+i), nil))
							}
						})
					}
					return &done
				}
				each := min(2*budget/size/writers, 4000)
				round(each).Wait()
				requireCounted(t, g, base, 0, "when all are done")
				require.Positive(t, g.shared.memory.Stats().Evictions+uint64(max(0, 3000-each)), "the store was full")

				half, more = make(chan struct{}), make(chan struct{})
				done := round(1)
				for range writers {
					<-half
				}
				requireCounted(t, g, base, writers, "in the middle")
				close(more)
				done.Wait()
			})
		}
	}
}

// TestRealMemoryOfTheRest: what is kept beside the stored responses is counted as well,
// with all that belongs to it.
func TestRealMemoryOfTheRest(t *testing.T) {
	t.Run("variants", func(t *testing.T) {
		g, cleanup := newRig(t, `{}`, nil)
		defer cleanup()
		base := liveHeap()
		for i := range 20_000 {
			for v := range 3 {
				key := fmt.Sprintf("https\x00example.com\x00/some/page/%d", i)
				g.shared.variants.add(key, fmt.Sprintf("%s\x00Accept-Encoding=%d", key, v), 2)
			}
		}
		require.Greater(t, g.shared.memory.Stats().Bytes, int64(3<<20))
		require.Zero(t, g.shared.memory.Stats().Reserved)
		requireCounted(t, g, base, 0, "variants")
		g.shared.memory.SetBudget(2 << 20)
		for i := range 20_000 {
			g.shared.variants.add(fmt.Sprintf("/another/%d", i), fmt.Sprintf("/another/%d/v", i), 2)
		}
		require.LessOrEqual(t, g.shared.memory.Stats().Bytes, int64(2*(64<<10)+(1<<10)), "a small budget has a small index")
	})
	t.Run("purges", func(t *testing.T) {
		g, cleanup := newRig(t, `{}`, nil)
		defer cleanup()
		base := liveHeap()
		var ps []purge.Purge
		for i := range 100_000 {
			ps = append(ps, purge.Purge{Kind: purge.Tag, Value: strconv.Itoa(i)})
		}
		for i := range 1000 {
			ps = append(ps, purge.Purge{Kind: purge.Wildcard, Value: fmt.Sprintf("Host-%0200d.example/*", i)})
		}
		g.shared.purges.Add(ps...)
		clear(ps)
		ps = nil
		g.shared.chargePurges()
		require.Greater(t, g.shared.memory.Stats().Bytes, int64(6<<20))
		requireCounted(t, g, base, 0, "purges")
		g.shared.sweep()
		require.Zero(t, g.shared.memory.Stats().Bytes, "they are forgotten, and given back")
		g.shared.purge(purge.Purge{Kind: purge.Wildcard, Value: "*/a"})
		require.Positive(t, g.shared.memory.Stats().Bytes)
		runtime.KeepAlive(ps)
	})
	t.Run("clients of what is not stored", func(t *testing.T) {
		const clients = 300
		piece := make([]byte, 8<<10)
		waits := make(chan struct{}, clients)
		g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			_, _ = w.Write(piece)
			// The client takes the header and nothing else: the next ones fill its window.
			for range 3 {
				_, _ = w.Write(piece)
			}
			waits <- struct{}{}
			_, _ = w.Write(piece)
		})
		defer cleanup()
		g.shared.memory.SetBudget(2 << 20)
		base := liveHeap()
		letGo := make(chan struct{})
		var done sync.WaitGroup
		for i := range clients {
			done.Go(func() {
				g.serve(&stuckDiscard{discard{make(http.Header)}, letGo}, httptest.NewRequest(http.MethodGet, fmt.Sprintf("http://example.com/%d", i), nil))
			})
		}
		for range clients {
			<-waits
		}
		heap, used := liveHeap()-base, g.shared.memory.Ledger().Used()
		require.LessOrEqual(t, heap, used+used/50+fixedHeap+clients*perRequest)
		require.GreaterOrEqual(t, used, int64(clients*windowChunk), "all are counted, though there is room for few")
		close(letGo)
		done.Wait()
		require.Eventually(t, func() bool { return g.shared.memory.Ledger().Used() == 0 }, 10*time.Second, time.Millisecond)
	})
}

// stuckDiscard takes nothing until it is let go.
type stuckDiscard struct {
	discard
	letGo <-chan struct{}
}

func (d *stuckDiscard) Write(p []byte) (int, error) {
	<-d.letGo
	return io.Discard.Write(p)
}
