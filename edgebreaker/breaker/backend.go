package breaker

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Backend is the state of one backend. It is safe for concurrent use; use New or
// a Registry to make one.
type Backend struct {
	address string
	random  func() float64

	// gate is the time from which on Ready says yes, or one of the constants below.
	gate   atomic.Int64
	active atomic.Int64
	peak   peakEWMA
	rampAt atomic.Int64 // when slow start began; never: it is over or has not begun
	used   atomic.Bool  // since the registry looked last

	holders int // guarded by the registry

	mu    sync.Mutex // guards all below, and writes to gate, peak and rampAt
	clock clock
	state State
	mode  Mode
	// epoch counts the changes of state. What began in another one is not judged.
	epoch uint32

	// good is when the latest attempt began that was answered well.
	good int64

	closed   closed
	open     open
	halfOpen halfOpen
	stats    statistics
}

// Values of gate besides a time.
const (
	gateOpen    = math.MinInt64     // let through: closed
	gateProbes  = math.MaxInt64 - 1 // ask under the lock: half-open
	gateBlocked = math.MaxInt64     // forced open
)

// New returns the backend at an address, closed. The address only serves as a
// name. random gives numbers from 0 up to 1 for the jitter of open times and must
// be safe for concurrent use; nil means math/rand/v2.
func New(address string, random func() float64) *Backend {
	if random == nil {
		random = rand.Float64
	}
	b := &Backend{address: address, random: random}
	b.clock.last, b.good = never, never
	b.closed.at = never
	b.gate.Store(gateOpen)
	b.rampAt.Store(never)
	return b
}

// Address returns what New was given.
func (b *Backend) Address() string { return b.address }

// Active returns the number of attempts under way.
func (b *Backend) Active() int { return int(b.active.Load()) }

// State returns the state of the moment, also when an operator brought it about.
// An open backend whose time is over is Open until somebody enters.
func (b *Backend) State() State {
	switch b.gate.Load() {
	case gateOpen:
		return Closed
	case gateProbes:
		return HalfOpen
	}
	return Open
}

// Ready reports whether Enter would admit an attempt. It takes no lock unless the
// backend is half-open. Another attempt may come between the two.
func (b *Backend) Ready(now time.Time, c *Config) bool {
	switch gate := b.gate.Load(); gate {
	case gateOpen:
		return true
	case gateProbes:
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.state != HalfOpen || b.halfOpen.room(b.clock.at(now), c)
	case gateBlocked:
		return false
	default:
		return ticks(now) >= gate
	}
}

// Enter begins an attempt under the rules of c, unless it is refused. An open
// backend whose time is over becomes half-open, where the attempt is a probe and
// takes a slot. Who was admitted has to call Attempt.End.
func (b *Backend) Enter(now time.Time, c *Config) (a Attempt, change Change, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.clock.at(now)
	if b.state == Open {
		if !b.due(t) {
			return Attempt{}, Change{}, false
		}
		change = b.becomeHalfOpen(now, t, OpenTimeOver)
	}
	a = Attempt{backend: b, config: c, epoch: b.epoch}
	if b.state == HalfOpen {
		if a.slot, a.probe = b.halfOpen.take(t, c); !a.probe {
			return Attempt{}, change, false
		}
	} else if b.closed.window == nil && c.ratios() {
		b.closed.window = new(window)
	}
	b.begin(t)
	return a, change, true
}

// Observe begins an attempt that asks for no leave and is not judged, but counts
// in Active, Latency and Status: for callers without rules, and for those who use
// an open backend since too many others are open as well. It has to be ended too.
func (b *Backend) Observe(now time.Time) Attempt {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.begin(b.clock.at(now))
	return Attempt{backend: b, epoch: b.epoch}
}

func (b *Backend) begin(t int64) {
	b.active.Add(1)
	b.stats.began(t)
}

// Share returns how much of its weight the backend should get, above 0 and at most
// 1: less than 1 during slow start, and the share of its first step while the
// backend is not closed, so that probes are few from the start.
func (b *Backend) Share(now time.Time, c *Config) float64 {
	if b.gate.Load() != gateOpen {
		return c.Ramp.first()
	}
	began := b.rampAt.Load()
	if began == never {
		return 1
	}
	return c.Ramp.share(time.Duration(ticks(now) - began))
}

// Recovered says that the backend, which the caller has seen down since a time, is
// back by a health check: slow start begins. It does nothing unless the backend is
// closed; otherwise slow start begins when it closes. Others may have noticed the same
// recovery earlier, so it does nothing either if since then slow start has begun or an
// attempt has, that was answered well.
func (b *Backend) Recovered(now, since time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.clock.at(now)
	if down := ticks(since); b.state != Closed || b.rampAt.Load() >= down || b.good-down > int64(underWay) {
		return
	}
	b.rampAt.Store(t)
	b.peak.reset()
}

// underWay is how long after a caller sees a backend down others may still begin an
// attempt, who looked before.
const underWay = time.Second

// Latency returns the peak EWMA of the time to the header. It is 0 as long as
// nothing is known, also after the backend opened or recovered. Without samples it
// sinks, so that a backend that is avoided gets another chance.
func (b *Backend) Latency(now time.Time) time.Duration { return b.peak.value(ticks(now)) }

// NextProbe returns how long it takes until an open backend may be asked again; 0
// for others. It is false if only an operator can end that.
func (b *Backend) NextProbe(now time.Time) (time.Duration, bool) {
	switch gate := b.gate.Load(); gate {
	case gateOpen, gateProbes:
		return 0, true
	case gateBlocked:
		return 0, false
	default:
		return max(time.Duration(gate-ticks(now)), 0), true
	}
}

// EjectedAt returns when the backend opened, as a number that grows with time; a
// re-opening does not change it. It is false for one that is closed, half-open, or held
// open by an operator.
func (b *Backend) EjectedAt() (int64, bool) {
	switch b.gate.Load() {
	case gateOpen, gateProbes, gateBlocked:
		return 0, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open.since, b.state == Open && b.mode == Auto
}

// changed ends an epoch.
func (b *Backend) changed(now time.Time, to State, reason Reason) Change {
	change := Change{Backend: b, From: b.state, To: to, Mode: b.mode, Reason: reason, At: now}
	b.state = to
	b.epoch++
	return change
}
