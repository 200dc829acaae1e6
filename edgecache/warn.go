package edgecache

import (
	"time"

	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgecache/tier/memory"
)

// warn tells what is no error, and yet hardly meant: sizes and times may come from
// templates that serve many machines.
func (h *Handler) warn(budget int64, now time.Time) {
	if largest := memory.Largest(budget); h.MaxObjectSize > largest {
		h.logger.Warn("max_object_size is more than the memory can hold of one response", zap.Int64("max_object_size", h.MaxObjectSize),
			zap.Int64("memory", budget), zap.Int64("largest", largest))
	}
	if h.DevelopmentUntil != "" && !h.devUntil.After(now) {
		h.logger.Warn("development lies in the past: nothing goes past the cache for it", zap.String("development", h.DevelopmentUntil))
	}
}
