package breaker

import "time"

// origin is where the times of this package are counted from, so that they are
// int64 of nanoseconds on the monotonic clock.
var origin = time.Now()

// never is a time before all others, with room to subtract it.
const never = int64(-1 << 62)

func ticks(now time.Time) int64 { return int64(now.Sub(origin)) }

// clock is time that does not go backwards: of two goroutines, the one that read
// the clock first may come last. Zero is the start of the package.
type clock struct{ last int64 }

func (c *clock) at(now time.Time) int64 {
	c.last = max(c.last, ticks(now))
	return c.last
}

// slotOf returns the number of the slot of a width that a time is in. It rounds
// down, also below zero.
func slotOf(t int64, width time.Duration) int64 {
	n := t / int64(width)
	if t%int64(width) < 0 {
		n--
	}
	return n
}

// wrap returns the place of a slot in a ring.
func wrap(slot int64, size int64) int {
	if slot %= size; slot < 0 {
		slot += size
	}
	return int(slot)
}
