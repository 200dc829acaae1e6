package breaker

import (
	"errors"
	"fmt"
	"time"
)

// Ramp is a slow start: how much of its weight a backend gets after a recovery.
// Either Shares and Each, or Linear. The zero Ramp is none.
type Ramp struct {
	// Shares are those of the steps, above 0 to 1, each for the time Each. After
	// the last one it is 1.
	Shares []float64
	Each   time.Duration
	// Linear is the time in which the share grows from a tenth to 1.
	Linear time.Duration
}

const (
	leastShare  = 0.1 // of a linear ramp
	mostSteps   = 100
	longestRamp = 24 * time.Hour
)

func (r *Ramp) validate() error {
	switch {
	case r.Linear < 0 || r.Linear > longestRamp:
		return fmt.Errorf("slow_start must last up to %s, not %s", longestRamp, r.Linear)
	case len(r.Shares) == 0 && r.Each != 0:
		return errors.New("slow_start has a time for each step, but no steps")
	case len(r.Shares) == 0:
		return nil
	case r.Linear > 0:
		return errors.New("slow_start has both steps and a duration")
	case len(r.Shares) > mostSteps:
		return fmt.Errorf("slow_start must have at most %d steps, not %d", mostSteps, len(r.Shares))
	case r.Each <= 0 || r.Each > longestRamp/time.Duration(len(r.Shares)):
		return fmt.Errorf("slow_start must last up to %s, not %d steps each %s", longestRamp, len(r.Shares), r.Each)
	}
	for _, share := range r.Shares {
		if !(share > 0 && share <= 1) {
			return fmt.Errorf("slow_start must have steps above 0%% up to 100%%, not %v%%", share*100)
		}
	}
	return nil
}

// first is the share at the beginning.
func (r *Ramp) first() float64 { return r.share(0) }

// share is the share after some time. Times below 0 count as 0.
func (r *Ramp) share(after time.Duration) float64 {
	after = max(after, 0)
	switch {
	case r.Linear > 0:
		return min(max(float64(after)/float64(r.Linear), leastShare), 1)
	case len(r.Shares) == 0:
		return 1
	}
	if step := after / r.Each; step < time.Duration(len(r.Shares)) {
		return r.Shares[step]
	}
	return 1
}
