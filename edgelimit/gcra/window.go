package gcra

import (
	"fmt"
	"time"
)

// maxCount is the largest count of one window: 16 bits.
const maxCount = 1<<16 - 1

// Window returns a limit of n in any period of the given length, estimated from
// two counters: those of the running window count in full, those of the one
// before by the share of it that the sliding window still covers. A period is
// rounded up to 256 ns.
//
// The index of a window has 16 bits: a key that was silent for a multiple of
// 65536 periods is taken for one seen just now, which at worst delays it by two
// periods. A table counts in periods of one length; see [Table.Adopt].
//
// It fails with ErrPeriod if per is not positive, ErrBurst if n is below 1,
// ErrCount if n is above 65535, and ErrSpan if per is above 208 days.
func Window(n int, per time.Duration) (Limit, error) {
	if per <= 0 {
		return Limit{}, fmt.Errorf("%w: %v", ErrPeriod, per)
	}
	if n < 1 {
		return Limit{}, fmt.Errorf("%w: %d", ErrBurst, n)
	}
	ticks := ticksUp(per)
	if ticks > maxSpan {
		return Limit{}, ErrSpan
	}
	return Limit{algorithm: window, ticks: ticks, burst: uint64(n)}.owing(uint64(n))
}

// counts is a state as seen at one moment.
type counts struct {
	previous, current uint64
	index             uint64
	left              uint64 // ticks of the window that are left
	early             uint64 // ticks until the window begins, for a clock that stepped back
}

func packWindow(previous, current, index uint64) uint64 {
	return previous<<32 | current<<16 | index&0xffff
}

// place returns the number of the window that a tick lies in and how far.
func (l *Limit) place(now int64) (index, elapsed uint64) {
	length := int64(l.ticks)
	number, rest := now/length, now%length
	if rest < 0 {
		number, rest = number-1, rest+length
	}
	return uint64(number), uint64(rest)
}

// readWindow brings a state to the window of now. Counts are cut to what the
// present limit can make.
func (l *Limit) readWindow(state uint64, now int64) counts {
	index, elapsed := l.place(now)
	c := counts{index: index, left: l.ticks - elapsed}
	previous, current := min(state>>32, l.deepest), min(state>>16&0xffff, l.deepest)
	switch (index - state) & 0xffff {
	case 0:
		c.previous, c.current = previous, current
	case 1:
		c.previous = current
	case 0xffff:
		// Another goroutine read the clock later and was faster. The state stands
		// at the beginning of its window until then.
		c = counts{previous, current, state, l.ticks, c.left}
	}
	return c
}

// load returns the estimate, in units times the length of a window.
func (c counts) load(length uint64) uint64 {
	return c.previous*c.left + c.current*length
}

// wait returns the ticks until a cost fits that does not fit now. The load only
// falls through the previous count, so it reaches the mark in this window if the
// current count leaves room, and in the next one, where it is the previous
// count, otherwise.
func (c counts) wait(cost, burst, length uint64) uint64 {
	if c.current+cost <= burst {
		return c.early + c.left - (burst-c.current-cost)*length/c.previous
	}
	return c.early + c.left + length - (burst-cost)*length/c.current
}

// reset returns the ticks until nothing is left of the counts.
func (c counts) reset(length uint64) uint64 {
	switch {
	case c.current > 0:
		return c.early + c.left + length
	case c.previous > 0:
		return c.early + c.left
	}
	return 0
}

func (l *Limit) stepWindow(a action, state, cost uint64, now int64) (uint64, Verdict) {
	c := l.readWindow(state, now)
	full := l.burst * l.ticks
	v := Verdict{Allowed: cost == 0 || cost <= l.burst && c.load(l.ticks)+cost*l.ticks <= full}
	switch {
	case cost > l.burst:
		v.RetryAfter = Never
	case !v.Allowed:
		v.RetryAfter = span(c.wait(cost, l.burst, l.ticks))
	}
	before := c
	switch a {
	case look, raise: // penalties are debts of a rate
	case charge:
		if v.Allowed {
			c.current += cost
		}
	case force:
		c.current = min(c.current+min(cost, l.deepest), l.deepest)
	case refund:
		fromCurrent := min(cost, c.current)
		c.current -= fromCurrent
		c.previous -= min(cost-fromCurrent, c.previous)
	}
	if load := c.load(l.ticks); load < full {
		v.Remaining = int((full - load) / l.ticks)
	}
	v.Reset = span(c.reset(l.ticks))
	if c != before {
		state = packWindow(c.previous, c.current, c.index)
	}
	return state, v
}
