package balance

import (
	"container/heap"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// backend is a simulated one: a request takes the same time, however many there are.
type backend struct {
	takes, latency time.Duration // latency as a peak EWMA would have it, roughly
	active, served int
}

type finish struct {
	at time.Duration
	by *backend
}

type finishes []finish

func (f finishes) Len() int           { return len(f) }
func (f finishes) Less(i, j int) bool { return f[i].at < f[j].at }
func (f finishes) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }
func (f *finishes) Push(x any)        { *f = append(*f, x.(finish)) }
func (f *finishes) Pop() any {
	last := (*f)[len(*f)-1]
	*f = (*f)[:len(*f)-1]
	return last
}

// simulate sends n requests, one each interval, and returns their latencies.
func simulate(policy Policy, backends []*backend, n int, interval time.Duration) []time.Duration {
	p := New(policy, seeded(1))
	candidates := pool(make([]int, len(backends))...)
	var running finishes
	var latencies []time.Duration
	for i := range n {
		now := time.Duration(i) * interval
		for len(running) > 0 && running[0].at <= now {
			f := heap.Pop(&running).(finish)
			f.by.active--
			f.by.latency = f.by.takes
		}
		for i, b := range backends {
			candidates[i].Active, candidates[i].Latency = b.active, b.latency
		}
		b := backends[p.Pick(candidates)]
		b.active++
		b.served++
		latencies = append(latencies, b.takes)
		heap.Push(&running, finish{now + b.takes, b})
	}
	slices.Sort(latencies)
	return latencies
}

// TestP2CAvoidsTheSlow: with one of four ten times slower, the P99 is at most a third
// of that of round robin.
func TestP2CAvoidsTheSlow(t *testing.T) {
	p99 := func(policy Policy) time.Duration {
		backends := []*backend{{takes: 100 * time.Millisecond}, {takes: 10 * time.Millisecond}, {takes: 10 * time.Millisecond}, {takes: 10 * time.Millisecond}}
		latencies := simulate(policy, backends, 20_000, time.Millisecond)
		return latencies[len(latencies)*99/100]
	}
	require.LessOrEqual(t, 3*p99(P2C), p99(WRR))
}

// TestLeastConnEvensOut: what is in flight is alike, so the slow one is asked less.
func TestLeastConnEvensOut(t *testing.T) {
	backends := []*backend{{takes: 100 * time.Millisecond}, {takes: 10 * time.Millisecond}}
	simulate(LeastConn, backends, 20_000, time.Millisecond)
	require.LessOrEqual(t, math.Abs(float64(backends[0].active-backends[1].active)), 1.0)
	require.Less(t, backends[0].served, backends[1].served/5)
}
