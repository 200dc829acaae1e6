package breaker

import (
	"time"

	"github.com/caddyedge/caddy-edge/internal/histogram"
)

// latencyPeriod is how long one histogram collects. Quantiles are of the present
// one and the one before.
const latencyPeriod = 5 * time.Second

// latencies are the times to the header of the last 5 to 10 s.
type latencies struct {
	period  int64
	present int
	halves  [2]histogram.Histogram
}

func (l *latencies) turn(t int64) {
	n := slotOf(t, latencyPeriod)
	if n == l.period {
		return
	}
	if n > l.period+1 {
		l.halves[l.present].Reset()
	}
	l.present = 1 - l.present
	l.halves[l.present].Reset()
	l.period = n
}

func (l *latencies) record(t int64, latency time.Duration) {
	l.turn(t)
	l.halves[l.present].Record(latency)
}

func (l *latencies) quantiles(t int64) (p50, p95, p99 time.Duration) {
	l.turn(t)
	sum := l.halves[0]
	sum.Add(&l.halves[1])
	return sum.Quantile(0.5), sum.Quantile(0.95), sum.Quantile(0.99)
}
