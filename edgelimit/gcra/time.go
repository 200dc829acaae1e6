package gcra

import "time"

// Time is a moment in nanoseconds since an arbitrary point of this process. It
// follows the monotonic clock. The zero value is a moment like any other.
type Time int64

// epoch is what Time counts from.
var epoch = time.Now()

// Now returns the present moment.
func Now() Time { return Time(time.Since(epoch)) }

// At converts a time. It is exact for times that carry a monotonic reading, as
// those of [time.Now] do; others follow the wall clock.
func At(t time.Time) Time { return Time(t.Sub(epoch)) }

// Add returns the moment d later.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// States count in ticks of 256 ns: 48 bits of them last 2.28 years, and one
// tick is a quarter of the shortest interval a Rate may have.
const tickBits = 8

// tick returns the tick a moment lies in.
func (t Time) tick() int64 { return int64(t) >> tickBits }

// span converts a number of ticks, at most maxSpan.
func span(ticks uint64) time.Duration { return time.Duration(ticks << tickBits) }

// ticksUp converts a positive duration to ticks, rounded up.
func ticksUp(d time.Duration) uint64 {
	return (uint64(d) + 1<<tickBits - 1) >> tickBits
}
