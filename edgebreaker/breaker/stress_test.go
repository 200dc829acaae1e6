package breaker

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestStressSlotsAndCap lets many goroutines do everything at once. In no epoch are
// there more probes without a header than the cap, everything comes back, and in
// the end the backend can be closed by one probe after another.
func TestStressSlotsAndCap(t *testing.T) {
	const most = 3
	handlers := []*Config{
		{Failures: 3, Successes: 4, Probes: 1, OpenFor: time.Millisecond, MaxOpenFor: 2 * time.Millisecond},
		{
			FailureRatio: 0.5, FailureMinRequests: 10, SlowRatio: 0.5, SlowMinRequests: 10, Slow: time.Second, Window: time.Second,
			Successes: 2, Probes: most, OpenFor: time.Millisecond, MaxOpenFor: 2 * time.Millisecond,
		},
	}
	b := New("", nil)
	var clock, probed, transitions atomic.Int64
	now := func() time.Time { return start.Add(time.Duration(clock.Add(int64(10 * time.Microsecond)))) }
	var probes sync.Map // of epoch to a count, that is never above the one held
	var done sync.WaitGroup
	for worker := range 16 {
		done.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 1))
			note := func(c Change) {
				if c.Changed() {
					transitions.Add(1)
				}
			}
			for n := range 2000 {
				c := handlers[random.IntN(len(handlers))]
				b.Ready(now(), c)
				a, change, ok := b.Enter(now(), c)
				note(change)
				if !ok {
					runtime.Gosched()
					continue
				}
				var held *atomic.Int64
				if a.Probe() {
					v, _ := probes.LoadOrStore(a.epoch, new(atomic.Int64))
					held = v.(*atomic.Int64)
					probed.Add(1)
					assert.LessOrEqual(t, held.Add(1), int64(most))
				}
				if random.IntN(2) == 0 {
					runtime.Gosched()
				}
				// Bad for a while, then good.
				o := Outcome(random.IntN(3))
				if n/100%2 == 0 && o == Failure {
					o = Success
				}
				if held != nil {
					held.Add(-1)
				}
				var both sync.WaitGroup
				both.Go(func() { note(a.End(now(), o)) })
				if random.IntN(2) == 0 {
					note(a.Header(now(), time.Duration(random.IntN(int(2*time.Second))), o))
				}
				if random.IntN(8) == 0 {
					note(a.Streaming(now()))
				}
				both.Wait()
				a.End(now(), Failure)
				if random.IntN(500) == 0 {
					b.Force(now(), Mode(random.IntN(3)))
				}
				if random.IntN(100) == 0 {
					b.Status(now())
					b.Recovered(now(), now())
				}
				b.Share(now(), c)
				b.Latency(now())
				b.EjectedAt()
				b.NextProbe(now())
			}
		})
	}
	done.Wait()
	require.Positive(t, probed.Load())
	require.Positive(t, transitions.Load())
	require.Zero(t, b.Active())
	require.Zero(t, b.Status(now()).Probes)

	b.Force(now(), ForceOpen)
	b.Force(now(), Auto)
	for b.State() != Closed {
		exchange(t, b, now(), handlers[0], Success)
	}
}
