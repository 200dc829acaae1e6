package gcra

import (
	"errors"
	"fmt"
)

// Reasons why a limit is refused.
var (
	ErrRate   = errors.New("rate must be above 0 and at most 1000000 per second")
	ErrBurst  = errors.New("burst must be at least 1")
	ErrPeriod = errors.New("period must be above 0")
	ErrCount  = errors.New("a window counts at most 65535")
	ErrSpan   = errors.New("full burst must refill within 208 days")
	ErrExcess = errors.New("overdraft must not be negative")
)

// maxSpan is the greatest debt, and the longest window, in ticks: 208 days. It is
// a quarter of the cycle of a state's 48 bits, so that a debt, a key that was not
// seen for one and a half years and a clock that steps back stay distinct.
const maxSpan = 1 << 46

// algorithm says how the state of a key is read.
type algorithm uint8

const (
	none algorithm = iota
	rate
	window
)

// Limit is an immutable limit made by [Rate] or [Window]. The zero value allows
// nothing but a cost of 0.
type Limit struct {
	algorithm algorithm
	ticks     uint64 // rate: ticks per unit; window: ticks per window
	burst     uint64 // units that may be charged at once
	deepest   uint64 // units that may be owed, at least burst
	tolerance uint64 // rate: burst in ticks
	ceiling   uint64 // rate: deepest in ticks
}

// Overdraft returns the same limit whose keys may owe up to n units more than
// the burst through [Table.Force]. Without it a key never owes more than its
// burst. It fails with ErrExcess if n is negative, and with ErrCount or ErrSpan
// if the sum is too large.
func (l Limit) Overdraft(n int) (Limit, error) {
	if n < 0 {
		return Limit{}, fmt.Errorf("%w: %d", ErrExcess, n)
	}
	return l.owing(l.burst + uint64(n))
}

// owing sets the greatest debt in units.
func (l Limit) owing(units uint64) (Limit, error) {
	switch {
	case l.algorithm == window && units > maxCount:
		return Limit{}, ErrCount
	case l.algorithm == rate && units > maxSpan/l.ticks:
		return Limit{}, ErrSpan
	}
	l.deepest = units
	l.ceiling = units * l.ticks
	return l, nil
}

// action is what a step does to a state.
type action uint8

const (
	look   action = iota // nothing
	charge               // adds the cost if it fits
	force                // adds the cost up to the greatest debt
	refund               // takes the cost off, down to an idle state
	raise                // lifts a debt below the cost to the cost; rates only
)

// step applies an action to a state and judges it. The state it returns is the
// one it was given if nothing has to be written.
func (l *Limit) step(a action, state, cost uint64, now int64) (uint64, Verdict) {
	switch l.algorithm {
	case rate:
		return l.stepRate(a, state, cost, now)
	case window:
		return l.stepWindow(a, state, cost, now)
	case none:
	}
	v := Verdict{Allowed: cost == 0}
	if !v.Allowed {
		v.RetryAfter = Never
	}
	return state, v
}

// idle returns the state of a key that owes nothing.
func (l *Limit) idle(now int64) uint64 {
	if l.algorithm == window {
		index, _ := l.place(now)
		return packWindow(0, 0, index)
	}
	return uint64(now) & stateMask
}

// debt weighs a state against others of the same table: 0 is idle.
func (l *Limit) debt(state uint64, now int64) uint64 {
	if l.algorithm == window {
		return l.readWindow(state, now).load(l.ticks)
	}
	return rateDebt(state, now)
}
