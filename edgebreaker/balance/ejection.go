package balance

import "math"

// Ejection returns how many of n backends may be out at the same time under a
// maximum share of the pool, from 0 to 1. It rounds down, but one may always be
// out, as in Envoy's outlier detection: so does the only one of its pool, for which
// the maximum means nothing.
func Ejection(n int, most float64) int {
	if n <= 0 {
		return 0
	}
	// A share such as 0.29 of 100 is 28.999999999999996.
	return min(max(int(math.Floor(float64(n)*most+1e-9)), 1), n)
}

// Ejected is a backend that is out.
type Ejected struct {
	// Index is for the caller.
	Index int
	// Since is when it was ejected, on any clock.
	Since int64
}

// Restore returns those that are to be used nevertheless, so that no more than
// allowed are out: the ones ejected longest ago, and of those ejected at the same
// time the ones that come first. It reorders out and returns a part of it.
func Restore(out []Ejected, allowed int) []Ejected {
	excess := min(max(len(out)-max(allowed, 0), 0), len(out))
	for i := range excess {
		oldest := i
		for j := i + 1; j < len(out); j++ {
			if out[j].before(out[oldest]) {
				oldest = j
			}
		}
		out[i], out[oldest] = out[oldest], out[i]
	}
	return out[:excess]
}

func (e Ejected) before(other Ejected) bool {
	return e.Since < other.Since || e.Since == other.Since && e.Index < other.Index
}
