package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// sample is a set of measurements of one thing.
type sample []float64

// median returns the middle value, or the mean of the two in the middle; 0 for
// an empty sample.
func (s sample) median() float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}

// min returns the least value; 0 for an empty sample.
func (s sample) min() float64 {
	if len(s) == 0 {
		return 0
	}
	return slices.Min(s)
}

// max returns the greatest value; 0 for an empty sample.
func (s sample) max() float64 {
	if len(s) == 0 {
		return 0
	}
	return slices.Max(s)
}

// quantile returns the least value that a share q of all values does not exceed;
// 0 for an empty sample.
func (s sample) quantile(q float64) float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[max(0, int(math.Ceil(q*float64(len(s))))-1)]
}

// over divides by another sample, value by value. A baseline of zero gives
// nothing.
func (s sample) over(baseline sample) sample {
	ratios := make(sample, 0, len(s))
	for i := range min(len(s), len(baseline)) {
		if baseline[i] != 0 {
			ratios = append(ratios, s[i]/baseline[i])
		}
	}
	return ratios
}

// ratio prints a sample of ratios: median (least-greatest).
func (s sample) ratio() string {
	return fmt.Sprintf("%.2fx (%.2f-%.2f)", s.median(), s.min(), s.max())
}

// notch returns half the width of the confidence interval of the median, 95 %, as
// box plots show it (McGill, Tukey and Larsen, 1978).
func (s sample) notch() float64 {
	if len(s) == 0 {
		return 0
	}
	return 1.57 * (s.quantile(0.75) - s.quantile(0.25)) / math.Sqrt(float64(len(s)))
}

// precise prints a sample of many ratios: median and confidence interval.
func (s sample) precise() string { return fmt.Sprintf("%.3fx (+-%.3f)", s.median(), s.notch()) }

// millis prints a sample of seconds in milliseconds: median (least-greatest).
func (s sample) millis() string {
	return fmt.Sprintf("%.1f ms (%.1f-%.1f)", s.median()*1e3, s.min()*1e3, s.max()*1e3)
}

// nanoseconds prints a sample of nanoseconds: median (least-greatest).
func (s sample) nanoseconds() string {
	return fmt.Sprintf("%.1f ns (%.1f-%.1f)", s.median(), s.min(), s.max())
}

// seconds prints a duration for the table.
func seconds(d time.Duration) string {
	if d < 100*time.Millisecond {
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// duration converts seconds.
func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// mebibytes prints a number of bytes.
func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
