package adaptive

import (
	"math"
	"time"

	"github.com/caddyedge/caddy-edge/internal/histogram"
)

// The law of the limit; see the package documentation.
const (
	windowTime    = int64(200e6) // ns, at least
	windowSamples = 20           // at least
	longestSettle = 5 * time.Second
	usedShare     = 0.5 // of the limit, in flight at the peak of a window, makes it grow
)

// sampleKind is what became of a request.
type sampleKind uint8

const (
	sampleLatency   sampleKind = iota // the header came, or the client waited for longer than the target
	sampleTimeout                     // the header did not come in time
	sampleImpatient                   // the client left before
)

// window gathers what the next move of the limit is decided from.
type window struct {
	latency   histogram.Histogram
	timeouts  int   // of the samples
	impatient int   // clients that left, and too early to give a sample
	start     int64 // ns; samples before it are not counted
	peak      int   // most in flight
	refused   bool
}

// full reports whether the window may be judged at time t.
func (w *window) full(t int64) bool {
	return w.latency.Len()+w.impatient >= windowSamples && t-w.start >= windowTime
}

// restart empties the window and lets it begin at time start.
func (w *window) restart(start int64, inFlight int) {
	*w = window{start: start, peak: inFlight}
}

// used reports whether the limit, and not the demand, decided what was in flight.
func (w *window) used(limit float64) bool {
	return w.refused || float64(w.peak) >= limit*usedShare
}

// pressure is the latency in relation to the target: above 1 the limit falls.
//
// It is the P95, but at most four times the median. Where requests queue, they
// all do, and the median is near the P95; a P95 far above it comes from a few
// requests that are slow by nature, which no limit makes faster, but which would
// let everyone be refused. More than 5 % of timeouts end the benefit of the
// doubt. And if most clients leave before they are answered, though earlier than
// at the target, the target is beyond their patience.
func (w *window) pressure(p Percentiles, target time.Duration) float64 {
	if w.impatient > w.latency.Len() {
		return 2
	}
	tail := p.P95
	if w.timeouts*20 <= w.latency.Len() {
		tail = min(tail, 4*p.P50)
	}
	return float64(tail) / float64(target)
}

// moved returns the limit after a window.
func moved(limit, pressure float64, used bool) float64 {
	if pressure > 1 {
		return limit * min(max(1/pressure, 0.5), 0.95)
	}
	if !used {
		return limit
	}
	return limit + max((1-pressure)*max(math.Sqrt(limit), limit/4), 1)
}
