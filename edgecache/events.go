package edgecache

import (
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgecache/purge"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
)

// The events that the cache emits through Caddy's events app.
const (
	eventPurged = "edge_cache_purged"     // data: purges, kind, value, soft
	eventFull   = "edge_cache_store_full" // data: bytes, budget
)

// fullPause is the least time between two reports that the store is full.
const fullPause = time.Minute

var lastFull atomic.Int64

// full counts a response that found no room, and says so once in a while: a
// store that evicts is normal, one that can't take a response is too small.
func (h *Handler) full() {
	h.metrics.rejected()
	now, last := time.Now().UnixNano(), lastFull.Load()
	if now-last < int64(fullPause) || !lastFull.CompareAndSwap(last, now) {
		return
	}
	st := h.shared.memory.Stats()
	h.logger.Warn("no room to store a response; raise the memory budget of the edge option",
		zap.Int64("bytes", st.Bytes), zap.Int64("reserved", st.Reserved), zap.Int64("budget", st.Budget))
	edgeapp.Emit(eventFull, map[string]any{"bytes": st.Bytes, "budget": st.Budget})
}

// announcePurge tells the log, the metrics and the event handlers of an
// operator's purges; the first of a batch stands for it.
func announcePurge(logger *zap.Logger, ps []purge.Purge) {
	collectors().purges.Add(float64(len(ps)))
	first := ps[0]
	logger.Info("purged cache", zap.Int("purges", len(ps)), zap.Stringer("kind", first.Kind),
		zap.String("value", first.Value), zap.Bool("soft", first.Soft))
	edgeapp.Emit(eventPurged, map[string]any{
		"purges": len(ps), "kind": first.Kind.String(), "value": first.Value, "soft": first.Soft,
	})
}
