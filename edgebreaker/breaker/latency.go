package breaker

import (
	"math"
	"sync/atomic"
	"time"
)

// peakDecay is the time in which the weight of a latency falls to 1/e.
const peakDecay = float64(10 * time.Second)

// peakEWMA is an average of latencies that follows a rise at once and a fall
// slowly, as in Finagle's load balancer. Reads take no lock and may combine the
// value before a sample with the time of it, which is off by one sample's decay.
// The zero value has no samples.
type peakEWMA struct {
	cost atomic.Uint64 // float64 of ns; 0: no sample
	at   atomic.Int64
}

// record takes a sample. That of a failure does not lower the average, nor is it the
// first: a backend that fails fast must not look like a fast one.
func (p *peakEWMA) record(t int64, latency time.Duration, failed bool) {
	cost, sample := math.Float64frombits(p.cost.Load()), max(float64(latency), 1)
	if failed && (cost == 0 || sample < cost) {
		return
	}
	if cost > 0 && sample < cost {
		w := decay(t - p.at.Load())
		sample = cost*w + sample*(1-w)
	}
	p.cost.Store(math.Float64bits(sample))
	p.at.Store(t)
}

// value returns the average, less the longer ago its last sample is.
func (p *peakEWMA) value(t int64) time.Duration {
	bits := p.cost.Load()
	if bits == 0 {
		return 0
	}
	return max(time.Duration(math.Float64frombits(bits)*decay(t-p.at.Load())), 1)
}

func (p *peakEWMA) reset() { p.cost.Store(0) }

// decay is exp(-t/peakDecay), within a millionth; for busy backends without
// computing an exponential.
func decay(t int64) float64 {
	x := max(float64(t), 0) / peakDecay
	if x < 0.01 {
		return 1 - x + x*x/2
	}
	return math.Exp(-x)
}
