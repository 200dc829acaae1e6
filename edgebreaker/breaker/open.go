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
}

// becomeOpen opens under the rules of c.
func (b *Backend) becomeOpen(now time.Time, t int64, c *Config, reason Reason) Change {
	if b.state == Closed {
		b.open.since = t
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
		b.open.since = t
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
