package lease

import (
	"fmt"
	"math"
	"time"
)

// Bounds of a [Limit].
const (
	// MaxRate is the greatest rate, in tokens per second.
	MaxRate = 1e6
	// MaxBurst is the greatest burst, in tokens.
	MaxBurst = 1e9
	// MaxRefill is the longest time that an empty bucket may take to be full.
	MaxRefill = 366 * 24 * time.Hour
)

// Limit is what all nodes together grant to one key: Burst tokens at once, Rate
// tokens per second in the long run. The zero value is not valid.
type Limit struct {
	Rate  float64 // tokens per second
	Burst int     // tokens, at least 1
}

// Validate refuses a rate or a burst out of bounds.
func (l Limit) Validate() error {
	switch {
	case math.IsNaN(l.Rate) || l.Rate <= 0 || l.Rate > MaxRate:
		return fmt.Errorf("rate: %g tokens per second: must be above 0 and at most %g", l.Rate, float64(MaxRate))
	case l.Burst < 1 || l.Burst > MaxBurst:
		return fmt.Errorf("burst: %d tokens: must be from 1 to %d", l.Burst, int(MaxBurst))
	case float64(l.Burst)/l.Rate > MaxRefill.Seconds():
		return fmt.Errorf("burst: %d tokens at %g tokens per second: takes more than %s to refill", l.Burst, l.Rate, MaxRefill)
	}
	return nil
}

// Share is the part of one of n nodes: rate/n and burst/n, rounded up so that a
// small burst leaves something to every node. An n below 1 counts as 1.
func (l Limit) Share(n int) Limit {
	n = max(n, 1)
	return Limit{Rate: l.Rate / float64(n), Burst: (l.Burst + n - 1) / n}
}

// refill is the time in which n tokens come in.
func (l Limit) refill(n float64) time.Duration {
	return time.Duration(n / l.Rate * float64(time.Second))
}
