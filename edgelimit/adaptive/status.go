package adaptive

import (
	"time"

	"github.com/caddyedge/caddy-edge/internal/histogram"
)

// Percentiles are those of one window of latencies, within 6 %. They are 0
// before the first window.
type Percentiles struct {
	P50, P95, P99 time.Duration
}

func percentiles(h *histogram.Histogram) Percentiles {
	return Percentiles{P50: h.Quantile(0.5), P95: h.Quantile(0.95), P99: h.Quantile(0.99)}
}

// Status is a snapshot of a Limiter.
type Status struct {
	State State
	// Limit is the number of requests that may be in flight, Target the P95 that
	// the limit is moved to meet, and Baseline the lowest median of the long
	// term (0 before the first window).
	Limit    int
	Target   time.Duration
	Baseline time.Duration
	// Latency is that of the last window.
	Latency Percentiles
	// InFlight, Uploads, Streams and Queued count the requests that hold a slot,
	// whose body is slow to come, whose response is long-lived, and that wait.
	InFlight, Uploads, Streams, Queued int
	// ActiveClients is an estimate for the last 5 to 10 s, within a few per cent.
	ActiveClients int
	// Admitted counts the requests that were given a slot since the start, and
	// Refused the others by reason; index it by a Reason.
	Admitted uint64
	Refused  [reasons]uint64
}

// Status returns a snapshot. It also lets time pass: a state that only time can
// end, such as StateRecovering, ends.
func (l *Limiter) Status(now time.Time) Status {
	l.mu.Lock()
	defer l.unlock()
	l.tick(now)
	l.active.turn(l.now)
	return Status{
		State:         stateAt(l.now, l.reducedAt, l.refusedAt),
		Limit:         int(l.limit),
		Target:        l.target,
		Baseline:      l.baseline.value(),
		Latency:       l.last,
		InFlight:      l.held[holdsSlot],
		Uploads:       l.held[holdsUpload],
		Streams:       l.held[holdsStream],
		Queued:        l.waiting.length,
		ActiveClients: int(l.active.estimate + 0.5),
		Admitted:      l.admitted,
		Refused:       l.refused,
	}
}
