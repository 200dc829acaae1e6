// Package histogram counts durations in fixed memory.
package histogram

import (
	"math"
	"math/bits"
	"time"
)

// Histogram counts durations from 1 microsecond to 1 hour in 8 buckets for each
// power of two; what lies outside counts as the nearest bound. A quantile is off
// by at most 6 % of the true value. The zero value is empty and ready. It is not
// safe for concurrent use.
type Histogram struct {
	counts [histogramBuckets]uint32
	total  int
}

const (
	histogramSteps   = 8
	histogramLowest  = 9  // 2^9 ns is the largest power of two below 1 us
	histogramHighest = 41 // 2^42 ns is the smallest above 1 h
	histogramBuckets = (histogramHighest - histogramLowest + 1) * histogramSteps
)

// Record counts one duration, in constant time.
func (h *Histogram) Record(d time.Duration) {
	d = min(max(d, time.Microsecond), time.Hour)
	octave := bits.Len64(uint64(d)) - 1
	step := int(uint64(d)>>(octave-3)) & (histogramSteps - 1)
	h.counts[(octave-histogramLowest)*histogramSteps+step]++
	h.total++
}

// Add counts all that another one has counted.
func (h *Histogram) Add(other *Histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
}

// Len returns the number of recorded durations.
func (h *Histogram) Len() int { return h.total }

// Reset forgets everything.
func (h *Histogram) Reset() { *h = Histogram{} }

// Quantile returns the nearest-rank quantile of q, from 0 to 1: 0.95 of 20
// durations is the 19th. Without any duration it is 0.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := min(max(int(math.Ceil(q*float64(h.total))), 1), h.total)
	seen := 0
	for i, n := range h.counts {
		seen += int(n)
		if seen >= rank {
			return bucketValue(i)
		}
	}
	return time.Hour
}

// bucketValue is the harmonic mean of the bounds, which has the same relative
// error, 1/17, at both.
func bucketValue(i int) time.Duration {
	octave, step := i/histogramSteps, i%histogramSteps
	unit := float64(uint64(1) << (octave + histogramLowest - 3))
	low := unit * float64(histogramSteps+step)
	high := low + unit
	return min(time.Duration(2*low*high/(low+high)), time.Hour)
}
