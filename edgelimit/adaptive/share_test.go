package adaptive

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestWaterLevel(t *testing.T) {
	for _, c := range []struct {
		usages []float64
		want   float64
		level  float64
	}{
		{nil, 1, math.Inf(1)},
		{[]float64{1, 2}, 3, math.Inf(1)},
		{[]float64{1, 1, 1, 1}, 2, 0.5},
		{[]float64{8, 1, 1}, 5, 3},
		{[]float64{1, 9, 2, 9}, 11, 4},
		{[]float64{0, 0, 4}, 1, 1},
	} {
		require.InDelta(t, 0, cmpLevel(waterLevel(slices.Clone(c.usages), c.want), c.level), 1e-9, "%v", c.usages)
	}
}

func cmpLevel(a, b float64) float64 {
	if a == b { // both may be infinite
		return 0
	}
	return a - b
}

func TestWaterLevelFillsWhatIsWanted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		usages := rapid.SliceOfN(rapid.Float64Range(0, 100), 1, 50).Draw(t, "usages")
		want := rapid.Float64Range(0.01, 1000).Draw(t, "want")
		level := waterLevel(slices.Clone(usages), want)
		sum, total := 0., 0.
		for _, u := range usages {
			sum += min(u, level)
			total += u
		}
		if math.IsInf(level, 1) {
			require.LessOrEqual(t, total, want)
		} else {
			require.InDelta(t, want, sum, 1e-6)
		}
	})
}

func TestFairShare(t *testing.T) {
	b := newBench(t, Config{Initial: 100})
	// A greedy client holds 40 slots, and soon others one each.
	greedy := Request{Client: 7}
	for range 40 {
		b.get(greedy)
	}
	b.pass(time.Minute)
	require.Equal(t, Admitted, b.reason(greedy), "below half of the limit anything goes")
	b.fill(1000, 42)
	b.pass(time.Minute)
	// x = 0.64, the level is 50 - 42 = 8, allowed are 8 / 0.41 = 19.5
	ticket, refused := b.Acquire(b.now, greedy)
	require.Equal(t, OverShare, refused.Reason)
	require.InDelta(t, math.Log2(40/19.5)*5, refused.RetryAfter.Seconds(), 0.1)
	require.Zero(t, ticket)
	ticket.Release(b.now)
	require.Equal(t, Admitted, b.reason(Request{Client: 1000}))
	require.Equal(t, Admitted, b.reason(Request{Client: 3000}))

	require.NoError(t, b.Reconfigure(b.now, Config{NoFairShare: true}))
	require.Equal(t, Admitted, b.reason(greedy))
}

// TestRetryAfterOfTheFairShareIsTrue: when it is over, with everything else as it
// was, the client is admitted, and not before.
func TestRetryAfterOfTheFairShareIsTrue(t *testing.T) {
	b := newBench(t, Config{Initial: 100})
	b.fill(1000, 80)
	b.pass(time.Minute)
	b.status()
	entry, _ := b.clients.take(7, b.Limiter.now)
	entry.usage = 10
	_, refused := b.Acquire(b.now, Request{Client: 7})
	require.Equal(t, OverShare, refused.Reason)
	b.pass(refused.RetryAfter - ms)
	require.Equal(t, OverShare, b.reason(Request{Client: 7}))
	b.pass(2 * ms)
	require.Equal(t, Admitted, b.reason(Request{Client: 7}))
}

// TestAModestClientIsNeverOverShare, whatever the others do.
func TestAModestClientIsNeverOverShare(t *testing.T) {
	for _, c := range []struct {
		initial int
		usage   float64
		want    Reason
	}{
		{100, 0.49, LimitReached},
		{100, 0.51, OverShare},
		{8, 0.19, LimitReached},
		{8, 0.21, OverShare},
	} {
		b := newBench(t, Config{Initial: c.initial})
		b.fill(1000, c.initial)
		b.pass(time.Minute)
		b.status()
		for i := range uint64(5000) { // a crowd that came once
			entry, _ := b.clients.take(1<<20+i, b.Limiter.now)
			entry.usage = 0.1
		}
		entry, _ := b.clients.take(7, b.Limiter.now)
		entry.usage = c.usage
		require.Equal(t, c.want, b.reason(Request{Client: 7}), "%+v", c)
	}
}
