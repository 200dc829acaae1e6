package breaker

import (
	"math"
	"time"
)

// open knows when it is over.
type open struct {
	since   int64 // when it opened first since it was closed
	until   int64
	lasts   time.Duration // as it was last set
	reopens int
	failed  int // requests in a row that were sent nevertheless, and failed
}

// observed notes what became of a request that was sent nevertheless.
func (s *open) observed(o Outcome) {
	switch o {
	case Failure:
		s.failed++
	case Success:
		s.failed = 0
	case Ignored:
	}
}

// mostHalvings bounds how small the share of an open backend becomes: to a
// thousandth, by which a pool of such ones still has an order.
const mostHalvings = 10

// Reinstated returns how much of its weight an open backend should get that is used
// nevertheless, since too many others are out: all, and half as much with each request
// in a row that failed since it opened. One that works after all is used as before, and
// one that does not takes little from those that do.
func (b *Backend) Reinstated() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return 1 / float64(int(1)<<min(b.open.failed, mostHalvings))
}

// becomeOpen opens under the rules of c.
func (b *Backend) becomeOpen(now time.Time, t int64, c *Config, reason Reason) Change {
	if b.state == Closed {
		b.open.since, b.open.failed = t, 0
		if t-b.closed.at >= int64(b.open.lasts) {
			b.open.reopens = 0
		} else {
			b.open.reopens++
		}
	} else {
		b.open.reopens++
	}
	change := b.changed(now, Open, reason)
	b.open.lasts = backoff(c.OpenFor, c.MaxOpenFor, b.open.reopens, b.random())
	b.open.until = t + int64(b.open.lasts)
	change.OpenFor = b.open.lasts
	b.rampAt.Store(never)
	b.peak.reset()
	b.gate.Store(b.open.until)
	return change
}

// becomeBlocked opens until an operator says otherwise.
func (b *Backend) becomeBlocked(now time.Time, t int64) Change {
	if b.state == Closed {
		b.open.since, b.open.failed = t, 0
	}
	change := b.changed(now, Open, Forced)
	b.open.until = math.MaxInt64
	b.rampAt.Store(never)
	b.peak.reset()
	b.gate.Store(gateBlocked)
	return change
}

// due reports whether the open time is over.
func (b *Backend) due(t int64) bool { return t >= b.open.until }
