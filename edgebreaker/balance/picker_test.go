package balance

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// seeded returns a source that gives the same numbers each time.
func seeded(seed uint64) func() float64 { return rand.New(rand.NewPCG(seed, 1)).Float64 }

// pool makes candidates at full share.
func pool(weights ...int) []Candidate {
	out := make([]Candidate, len(weights))
	for i, w := range weights {
		out[i] = Candidate{Weight: w, Share: 1, Turn: new(Turn)}
	}
	return out
}

// tally picks n times and returns how often each one was picked.
func tally(p *Picker, pool []Candidate, n int) []int {
	counts := make([]int, len(pool))
	for range n {
		counts[p.Pick(pool)]++
	}
	return counts
}

func TestPickOfFew(t *testing.T) {
	for _, policy := range []Policy{WRR, LeastConn, P2C} {
		p := New(policy, nil)
		require.Equal(t, -1, p.Pick(nil))
		require.Equal(t, 0, p.Pick(pool(3)))
	}
}

func TestPolicyNames(t *testing.T) {
	for _, p := range []Policy{WRR, LeastConn, P2C} {
		parsed, ok := ParsePolicy(p.String())
		require.True(t, ok)
		require.Equal(t, p, parsed)
	}
	_, ok := ParsePolicy("random")
	require.False(t, ok)
	require.Equal(t, "unknown", Policy(9).String())
}

func TestWRRIsSmooth(t *testing.T) {
	p, all := New(WRR, nil), pool(5, 1, 1)
	var order []int
	for range 7 {
		order = append(order, p.Pick(all))
	}
	require.Equal(t, []int{0, 0, 1, 0, 2, 0, 0}, order, "as nginx does")
}

// TestWRRIsExactWhenSomeAreMissing: 1/1/2 without A is 1/3 and 2/3.
func TestWRRIsExactWhenSomeAreMissing(t *testing.T) {
	p, all := New(WRR, nil), pool(1, 1, 2)
	require.Equal(t, []int{10, 10, 20}, tally(p, all, 40))
	require.Equal(t, []int{100, 200}, tally(p, all[1:], 300))
	require.Equal(t, []int{10, 10, 20}, tally(p, all, 40))
	p.Pick(all) // someone goes with a debt, which one pick pays
	require.InDelta(t, 1000, tally(p, all[1:], 3000)[0], 1)
}

func TestWRRHonoursShares(t *testing.T) {
	p, all := New(WRR, nil), pool(1, 1, 2)
	all[2].Share = 0.25 // of 2 is half of each of the others
	require.Equal(t, []int{200, 200, 100}, tally(p, all, 500))
	all[2].Share = 0 // means nothing
	require.Equal(t, []int{100, 100, 200}, tally(p, all, 400))
	all[2].Share = math.NaN()
	require.Equal(t, []int{100, 100, 200}, tally(p, all, 400))
}

// TestWRRStaysExact holds each backend near its part, with any weights, and with
// candidates that come and go.
func TestWRRStaysExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.IntRange(1, 100), 2, 64).Draw(t, "weights")
		p, all := New(WRR, nil), pool(weights...)
		for range rapid.IntRange(0, 5).Draw(t, "phases") {
			var there []Candidate
			for i := range all {
				if rapid.Bool().Draw(t, "there") {
					there = append(there, all[i])
				}
			}
			tally(p, there, min(len(there), 1)*rapid.IntRange(0, 100).Draw(t, "picks"))
		}
		total := 0
		for _, w := range weights {
			total += w
		}
		// However it began, the difference to the exact part does not grow.
		n := 10 * total
		counts := tally(p, all, n)
		for i, w := range weights {
			require.InDelta(t, float64(n)*float64(w)/float64(total), counts[i], 2*creditBound)
		}
	})
}

// TestWRRForgivesDebts: who was picked while a heavy backend was there owes a lot,
// and must not wait for ever when it is missing.
func TestWRRForgivesDebts(t *testing.T) {
	p, all := New(WRR, nil), pool(1, 1, 10_000)
	for p.Pick(all) != 0 {
	}
	counts := tally(p, all[:2], 100)
	require.InDelta(t, 50, counts[0], creditBound)
}

// TestWRRForgivesNewcomers: backends that come, are picked once and go leave the
// others with what they owe, and the next one must not wait for ever.
func TestWRRForgivesNewcomers(t *testing.T) {
	p, stable := New(WRR, nil), pool(1, 1)
	for range 10_000 {
		all := append(pool(1), stable...)
		for i, picked := 0, -1; picked != 0; i++ {
			require.Less(t, i, 3*creditBound*3)
			picked = p.Pick(all)
		}
	}
	require.Equal(t, []int{50, 50}, tally(p, stable, 100))
}

func TestLeastConn(t *testing.T) {
	p, all := New(LeastConn, seeded(1)), pool(1, 1, 2)
	all[0].Active, all[1].Active, all[2].Active = 3, 2, 5
	require.Equal(t, 1, p.Pick(all))
	all[2].Active = 3
	require.Equal(t, 2, p.Pick(all), "3 of weight 2 is less than 2 of weight 1")
	all = pool(2, 1)
	all[0].Active, all[1].Active = 3, 2
	require.Equal(t, 0, p.Pick(all), "in any order")
}

func TestLeastConnSharesAnIdlePoolByWeight(t *testing.T) {
	counts := tally(New(LeastConn, seeded(1)), pool(1, 1, 2), 40_000)
	require.InEpsilon(t, 10_000, counts[0], 0.05)
	require.InEpsilon(t, 10_000, counts[1], 0.05)
	require.InEpsilon(t, 20_000, counts[2], 0.05)
}

func TestP2C(t *testing.T) {
	p, all := New(P2C, seeded(1)), pool(1, 1)
	for _, c := range []struct {
		name string
		a, b Candidate
		want int
	}{
		{"faster", Candidate{Latency: 10}, Candidate{Latency: 11}, 0},
		{"fewer in flight", Candidate{Latency: 10, Active: 1}, Candidate{Latency: 10, Active: 2}, 0},
		{"fast but busy", Candidate{Latency: 10, Active: 3}, Candidate{Latency: 30}, 1},
		{"not known, fewer in flight", Candidate{Active: 1}, Candidate{Latency: 1, Active: 2}, 0},
		{"not known, more in flight", Candidate{Active: 2}, Candidate{Latency: time.Hour, Active: 1}, 1},
		{"heavier", Candidate{Latency: 10, Weight: 1}, Candidate{Latency: 15, Weight: 2}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			all[0], all[1] = c.a, c.b
			for range 20 {
				require.Equal(t, c.want, p.Pick(all))
			}
		})
	}
}

// TestP2CDrawsByWeight: among equals the draw decides.
func TestP2CDrawsByWeight(t *testing.T) {
	counts := tally(New(P2C, seeded(1)), pool(1, 1, 1, 1), 40_000)
	for _, n := range counts {
		require.InEpsilon(t, 10_000, n, 0.05)
	}
}

// TestSlowStart: a recovering backend gets its share, whatever the policy and the
// load of the others.
func TestSlowStart(t *testing.T) {
	for _, policy := range []Policy{WRR, LeastConn, P2C} {
		for _, share := range []float64{0.1, 0.25, 0.5, 0.75} {
			for _, load := range []int{0, 1, 20} {
				p, all := New(policy, seeded(1)), pool(1, 1, 1)
				for i := range all {
					all[i].Active, all[i].Latency = load, 10*time.Millisecond
				}
				all[2].Share, all[2].Active, all[2].Latency = share, load/2, 0
				counts := tally(p, all, 20_000)
				require.InEpsilon(t, share*float64(counts[0]+counts[1])/2, counts[2], 0.1, "%s, share %v, load %d", policy, share, load)
			}
		}
	}
}

func TestSlowStartOfAll(t *testing.T) {
	for _, policy := range []Policy{LeastConn, P2C} {
		all := pool(1, 1, 2)
		all[0].Share, all[1].Share, all[2].Share = 0.25, 0.5, 0.25
		counts := tally(New(policy, seeded(1)), all, 40_000)
		require.InEpsilon(t, 8_000, counts[0], 0.05)
		require.InEpsilon(t, 16_000, counts[1], 0.05)
		require.InEpsilon(t, 16_000, counts[2], 0.05)
	}
}

// TestSlowStartDoesNotPileUp: who is still slow is not given more than it can take.
func TestSlowStartDoesNotPileUp(t *testing.T) {
	for _, policy := range []Policy{LeastConn, P2C} {
		p, all := New(policy, seeded(1)), pool(1, 1)
		all[0].Active, all[1].Active, all[1].Share = 10, 22, 0.9
		require.Equal(t, []int{100, 0}, tally(p, all, 100))
		all[1].Active = 21
		require.Positive(t, tally(p, all, 100)[1])
	}
}

// TestPickIsAlwaysInThePool has odd values, and sources of random numbers at their
// ends.
func TestPickIsAlwaysInThePool(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		random := rapid.SampledFrom([]func() float64{func() float64 { return 0 }, func() float64 { return math.Nextafter(1, 0) }, seeded(2)}).Draw(t, "random")
		p := New(rapid.SampledFrom([]Policy{WRR, LeastConn, P2C}).Draw(t, "policy"), random)
		candidates := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Candidate {
			return Candidate{
				Weight:  rapid.Int().Draw(t, "weight"),
				Share:   rapid.OneOf(rapid.Float64(), rapid.Float64Range(0, 1), rapid.Just(1.0)).Draw(t, "share"),
				Active:  rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, math.MaxInt32)).Draw(t, "active"),
				Latency: time.Duration(rapid.Int64().Draw(t, "latency")),
				Turn:    new(Turn),
			}
		}), 1, 70).Draw(t, "pool")
		for range 10 {
			i := p.Pick(candidates)
			require.GreaterOrEqual(t, i, 0)
			require.Less(t, i, len(candidates))
		}
	})
}

func TestPickerIsSafeForConcurrentUse(t *testing.T) {
	for _, policy := range []Policy{WRR, LeastConn, P2C} {
		p, all := New(policy, nil), pool(1, 2, 3)
		all[2].Share = 0.5
		counts := make([][]int, 4)
		var done sync.WaitGroup
		for i := range counts {
			done.Go(func() { counts[i] = tally(p, all, 900) })
		}
		done.Wait()
		if policy == WRR {
			sum := []int{0, 0, 0}
			for _, c := range counts {
				for i, n := range c {
					sum[i] += n
				}
			}
			require.Equal(t, []int{800, 1600, 1200}, sum)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	for _, policy := range []Policy{WRR, LeastConn, P2C} {
		p := New(policy, nil)
		turns := make([]Turn, 64)
		require.Zero(t, testing.AllocsPerRun(100, func() {
			var room [64]Candidate
			for i := range room {
				room[i] = Candidate{Weight: 1, Share: float64(i%4+1) / 4, Turn: &turns[i]}
			}
			p.Pick(room[:])
		}), policy)
	}
}
