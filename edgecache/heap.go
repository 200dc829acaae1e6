package edgecache

import (
	"os"
	"runtime/debug"
	"sync"
)

// The growth of the heap between two garbage collections, in percent of what is
// live (GOGC). By default it is 100: the process may take twice what it holds,
// which is cheap for a small heap and dear for a large store, whose blobs cost
// the collector next to nothing.
const (
	usualGrowth = 100
	storeGrowth = 50
	largeStore  = 64 << 20
)

// heapGrowth keeps the growth of the heap in proportion to the store. The
// operator's GOGC wins. The zero value is ready to use.
type heapGrowth struct {
	mu      sync.Mutex
	lowered bool
}

// follow adapts the growth to the bytes that are stored.
func (g *heapGrowth) follow(stored int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	// Not at the same size both ways: it would change with every response.
	lower := stored >= largeStore || g.lowered && stored >= largeStore/2
	if lower == g.lowered || os.Getenv("GOGC") != "" {
		return
	}
	g.lowered = lower
	if lower {
		debug.SetGCPercent(storeGrowth)
	} else {
		debug.SetGCPercent(usualGrowth)
	}
}
