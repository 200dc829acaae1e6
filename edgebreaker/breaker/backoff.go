package breaker

import "time"

// jitter is the greatest part of the open time that is added at random.
const jitter = 0.1

// backoff returns how long to stay open after a number of re-openings: least,
// doubled for each, and up to a tenth more as random, from 0 up to 1, says; never
// more than most.
func backoff(least, most time.Duration, reopens int, random float64) time.Duration {
	d := least
	for ; reopens > 0 && d < most; reopens-- {
		d *= 2
	}
	d = min(d, most)
	return min(d+time.Duration(random*jitter*float64(d)), most)
}
