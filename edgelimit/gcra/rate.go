package gcra

import (
	"fmt"
	"math"
	"time"
)

// Rate returns a limit of n per period after a burst, by the generic cell rate
// algorithm: a key may use the whole burst at once and regains one unit every
// period/n. That interval is rounded up to 256 ns, so a key never gets more than
// n per period, and at 10000 per second at most 0.3 % less.
//
// It fails with ErrPeriod if per is not positive, ErrRate if n is not positive,
// not finite or above a million per second, ErrBurst if burst is below 1, and
// ErrSpan if an empty burst takes more than 208 days to refill.
func Rate(n float64, per time.Duration, burst int) (Limit, error) {
	if per <= 0 {
		return Limit{}, fmt.Errorf("%w: %v", ErrPeriod, per)
	}
	interval := float64(per) / n
	if !(n > 0) || !(interval >= 1000) {
		return Limit{}, fmt.Errorf("%w: %v per %v", ErrRate, n, per)
	}
	if burst < 1 {
		return Limit{}, fmt.Errorf("%w: %d", ErrBurst, burst)
	}
	ticks := math.Ceil(interval / (1 << tickBits))
	if ticks > maxSpan {
		return Limit{}, ErrSpan
	}
	l := Limit{algorithm: rate, ticks: uint64(ticks), burst: uint64(burst)}
	l, err := l.owing(l.burst)
	l.tolerance = l.ceiling
	return l, err
}

// rateDebt returns how many ticks a theoretical arrival time lies ahead. What is
// further ahead than any debt can be lies behind, also across the wrap of the 48
// bits.
func rateDebt(state uint64, now int64) uint64 {
	ahead := (state - uint64(now)) & stateMask
	if ahead > maxSpan {
		return 0
	}
	return ahead
}

func (l *Limit) stepRate(a action, state, cost uint64, now int64) (uint64, Verdict) {
	held := rateDebt(state, now)
	// A debt from an earlier, slower limit is cut to what this one can make, and
	// written back even by a refusal: a cut that is only read would move along
	// with now and refuse until the old debt is over.
	debt := min(held, l.ceiling)
	fee := min(cost, l.deepest) * l.ticks
	v := Verdict{Allowed: cost == 0 || cost <= l.burst && debt+fee <= l.tolerance}
	switch {
	case cost > l.burst:
		v.RetryAfter = Never
	case !v.Allowed:
		v.RetryAfter = span(debt + fee - l.tolerance)
	}
	switch a {
	case look:
	case charge:
		if v.Allowed {
			debt += fee
		}
	case force:
		debt = min(debt+fee, l.ceiling)
	case refund:
		debt -= min(debt, fee)
	case raise:
		debt = max(debt, fee)
	}
	if debt < l.tolerance {
		v.Remaining = int((l.tolerance - debt) / l.ticks)
	}
	v.Reset = span(debt)
	if debt != held {
		state = (uint64(now) + debt) & stateMask
	}
	return state, v
}
