package adaptive

import "time"

// baseline is the lowest median latency of the long term: the lowest of the
// present period and the one before. A lower median always counts; one that
// would raise the baseline counts only from a quiet window, in which nothing
// queued at the origin. Without that an overload that lasts would teach the
// limiter that the origin is slow, and let it be slower still.
type baseline struct {
	now, before time.Duration // 0 when the period had no window
	rotateAt    int64
}

const baselinePeriod = int64(10 * 60e9)

// add notes the median of a window that ended at time t.
func (b *baseline) add(median time.Duration, quiet bool, t int64) {
	if t >= b.rotateAt {
		// A period without a quiet window keeps the value it began with.
		if b.now != 0 {
			b.before, b.now = b.now, 0
		}
		b.rotateAt = t + baselinePeriod
	}
	if quiet && b.now == 0 || median < b.value() || b.value() == 0 {
		b.now = median
		return
	}
	if quiet {
		b.now = min(b.now, median)
	}
}

// value returns the baseline, 0 before the first window.
func (b *baseline) value() time.Duration {
	if b.now == 0 || b.before != 0 && b.before < b.now {
		return b.before
	}
	return b.now
}
