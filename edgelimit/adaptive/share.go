package adaptive

import (
	"math"
	"slices"
	"time"
)

// The fair share; see the package documentation.
const (
	// modestUsage is the usage, in slots, up to which nobody is refused by the
	// fair share, but at most modestPart of the limit.
	modestUsage = 0.5
	modestPart  = 1. / 40
	// levelEvery is how long the water level is good for (ns).
	levelEvery = int64(200e6)
)

// waterLevel returns the usage c for which the sum of min(usage, c) is want, and
// +Inf if the usages do not come to that. It reorders usages.
func waterLevel(usages []float64, want float64) float64 {
	sum := 0.
	for _, u := range usages {
		sum += u
	}
	if sum <= want {
		return math.Inf(1)
	}
	// Those below the mean of the rest get what they use; what they leave is
	// shared by the others, whose mean rises until all of them are above it.
	for {
		level := want / float64(len(usages))
		above := slices.DeleteFunc(usages, func(u float64) bool {
			if u > level {
				return false
			}
			want -= u
			return true
		})
		if len(above) == len(usages) || len(above) == 0 {
			return level
		}
		usages = above
	}
}

// share returns the usage that the fair share allows at x, the part of the upper
// half of the limit that is in flight.
func (l *Limiter) share(x float64) float64 {
	if l.now >= l.levelUntil {
		l.levelUntil = l.now + levelEvery
		l.usages = l.clients.usages(l.usages[:0], l.now)
		l.level = waterLevel(l.usages, l.limit/2)
	}
	modest := min(modestUsage, l.limit*modestPart)
	request := float64(l.last.P50) * usageDecay
	return max(l.level/(x*x), modest, request)
}

// overShare returns for how long the client must wait until its usage is what
// is allowed at present, 0 if it is.
func (l *Limiter) overShare(r Request) time.Duration {
	if l.cfg.NoFairShare || r.Class == Background {
		return 0
	}
	half := l.limit / 2
	x := min((float64(l.held[holdsSlot])-half)/half, 1)
	if x <= 0 {
		return 0
	}
	client := l.clients.find(r.Client, l.now)
	if client == nil {
		return 0
	}
	allowed := l.share(x)
	if client.usage <= allowed {
		return 0
	}
	return time.Duration(max(math.Log(client.usage/allowed)/usageDecay, 1))
}
