package gcra

import (
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// reference says in exact numbers how many units a key has used at a tick.
type reference interface {
	used(key int, tick int64) *big.Rat
	// settle writes down what reading a key at a tick changes.
	settle(key int, tick int64)
	add(key int, tick, cost int64)
	take(key int, tick, cost int64)
	forget(key int)
	limit(l Limit)
}

// arrivals is a reference for rates: it keeps arrival times without a wrap.
type arrivals struct {
	l   Limit
	tat map[int]int64
}

func (r *arrivals) interval() int64 { return int64(r.l.ticks) }

func (r *arrivals) used(key int, tick int64) *big.Rat {
	return big.NewRat(max(r.tat[key]-tick, 0), r.interval())
}

func (r *arrivals) settle(key int, tick int64) {
	if tat, ok := r.tat[key]; ok {
		r.tat[key] = min(tat, tick+int64(r.l.deepest)*r.interval())
	}
}

func (r *arrivals) add(key int, tick, cost int64) {
	r.tat[key] = max(r.tat[key], tick) + cost*r.interval()
	r.settle(key, tick)
}

func (r *arrivals) take(key int, tick, cost int64) {
	if tat, ok := r.tat[key]; ok && tat > tick {
		r.tat[key] = max(tick, tat-cost*r.interval())
	}
}

func (r *arrivals) forget(key int) { delete(r.tat, key) }
func (r *arrivals) limit(l Limit)  { r.l = l }

// tallies is a reference for windows: it keeps the count of every window by its
// full number.
type tallies struct {
	l    Limit
	keys map[int]*tally
}

type tally struct {
	counts map[int64]int64
	last   int64 // newest window with a count
}

// at returns what is known of a key, the number of the window and the ticks into
// it. A key never goes back to an earlier window.
func (r *tallies) at(key int, tick int64) (k *tally, number, into int64) {
	k = r.keys[key]
	if k == nil {
		k = &tally{counts: map[int64]int64{}}
	}
	length := int64(r.l.ticks)
	tick = max(tick, k.last*length)
	return k, tick / length, tick % length
}

func (r *tallies) count(k *tally, number int64) int64 {
	return min(k.counts[number], int64(r.l.deepest))
}

func (r *tallies) used(key int, tick int64) *big.Rat {
	k, number, into := r.at(key, tick)
	share := big.NewRat(int64(r.l.ticks)-into, int64(r.l.ticks))
	share.Mul(share, big.NewRat(r.count(k, number-1), 1))
	return share.Add(share, big.NewRat(r.count(k, number), 1))
}

func (r *tallies) settle(int, int64) {}

func (r *tallies) write(key int, k *tally, number, previous, current int64) {
	k.counts = map[int64]int64{number - 1: previous, number: current}
	k.last = number
	r.keys[key] = k
}

func (r *tallies) add(key int, tick, cost int64) {
	k, number, _ := r.at(key, tick)
	before := r.count(k, number)
	// What a lower limit hides is only dropped by a change that is visible.
	if after := min(before+cost, int64(r.l.deepest)); after != before {
		r.write(key, k, number, r.count(k, number-1), after)
	}
}

func (r *tallies) take(key int, tick, cost int64) {
	k, number, _ := r.at(key, tick)
	previous, current := r.count(k, number-1), r.count(k, number)
	if previous+current == 0 || cost == 0 {
		return
	}
	both := max(previous+current-cost, 0)
	r.write(key, k, number, min(previous, both), max(both-previous, 0))
}

func (r *tallies) forget(key int) { delete(r.keys, key) }
func (r *tallies) limit(l Limit)  { r.l = l }

// checkVerdict holds a verdict against the reference after the action.
func checkVerdict(t require.TestingT, r reference, l *Limit, key int, before *big.Rat, cost, tick int64, v Verdict) {
	burst := big.NewRat(int64(l.burst), 1)
	fits := new(big.Rat).Add(before, big.NewRat(cost, 1)).Cmp(burst) <= 0
	require.Equal(t, cost == 0 || fits, v.Allowed, "allowed")

	left := new(big.Rat).Sub(burst, r.used(key, tick))
	remaining := new(big.Int).Quo(left.Num(), left.Denom())
	require.Equal(t, max(remaining.Int64(), 0), int64(v.Remaining), "remaining")

	reset := int64(v.Reset) >> tickBits
	require.Zero(t, r.used(key, tick+reset).Sign(), "unused after reset")
	if reset > 0 {
		require.Positive(t, r.used(key, tick+reset-1).Sign(), "used until reset")
	}
}

// checkRetry holds RetryAfter of a refusal that left no trace against the
// reference.
func checkRetry(t require.TestingT, r reference, l *Limit, key int, cost, tick int64, v Verdict) {
	if v.Allowed {
		require.Zero(t, v.RetryAfter)
		return
	}
	if cost > int64(l.burst) {
		require.Equal(t, Never, v.RetryAfter)
		return
	}
	fits := func(tick int64) bool {
		sum := new(big.Rat).Add(r.used(key, tick), big.NewRat(cost, 1))
		return sum.Cmp(big.NewRat(int64(l.burst), 1)) <= 0
	}
	retry := int64(v.RetryAfter) >> tickBits
	require.Positive(t, retry)
	require.True(t, fits(tick+retry), "fits after the wait")
	require.False(t, fits(tick+retry-1), "does not fit sooner")
}

// runModel plays random calls on a few keys that share sets but never overflow
// one, and compares every answer.
func runModel(t *rapid.T, r reference, period time.Duration, draw func(*rapid.T) Limit) {
	table := New(minSlots)
	keys := make([]Key, 5)
	for i := range keys {
		keys[i] = Key{set: uint64(i % 2), print: uint64(i+1) << genBits}
	}
	l := draw(t)
	r.limit(l)
	now := Time(rapid.SampledFrom([]int64{0, 1 << 40, (1<<48 - 1<<20) << tickBits}).Draw(t, "start"))
	latest := now
	for range 80 {
		i := rapid.IntRange(0, len(keys)-1).Draw(t, "key")
		cost := rapid.SampledFrom([]int{1, 0, 1, 2, 3, 10, 1000}).Draw(t, "cost")
		tick := now.tick()
		k, n := keys[i], int64(cost)
		switch rapid.SampledFrom([]string{
			"check", "charge", "charge", "charge", "force", "refund", "reset", "limit", "pass", "pass", "back",
		}).Draw(t, "call") {
		case "check":
			r.settle(i, tick)
			v := table.Check(k, &l, cost, now)
			checkVerdict(t, r, &l, i, r.used(i, tick), n, tick, v)
			checkRetry(t, r, &l, i, n, tick, v)
		case "charge":
			r.settle(i, tick)
			before := r.used(i, tick)
			v := table.Charge(k, &l, cost, now)
			checkRetry(t, r, &l, i, n, tick, v)
			if v.Allowed && cost > 0 {
				r.add(i, tick, n)
			}
			checkVerdict(t, r, &l, i, before, n, tick, v)
		case "force":
			r.settle(i, tick)
			before := r.used(i, tick)
			v := table.Force(k, &l, cost, now)
			checkRetry(t, r, &l, i, n, tick, v)
			if cost > 0 {
				r.add(i, tick, n)
			}
			checkVerdict(t, r, &l, i, before, n, tick, v)
		case "refund":
			r.settle(i, tick)
			table.Refund(k, &l, cost, now)
			r.take(i, tick, n)
		case "reset":
			table.Reset(k)
			r.forget(i)
		case "limit":
			l = draw(t)
			r.limit(l)
		case "pass":
			share := rapid.SampledFrom([]time.Duration{0, 1, 7, 20, 50, 83, 99, 100, 130, 250}).Draw(t, "pass")
			now = now.Add(time.Duration(int64(period)*int64(share)/100) + time.Duration(rapid.IntRange(0, 1<<tickBits).Draw(t, "ticks")))
			latest = max(latest, now)
		case "back":
			// Other goroutines read the clock a little later and come first.
			now = Time(rapid.Int64Range(max(0, int64(latest)-int64(period)/2), int64(latest)).Draw(t, "back"))
		}
	}
	require.Zero(t, table.Evicted())
}

func drawOverdraft(t *rapid.T, l Limit, err error) Limit {
	require.NoError(t, err)
	l, err = l.Overdraft(rapid.SampledFrom([]int{0, 0, 1, 20}).Draw(t, "overdraft"))
	require.NoError(t, err)
	return l
}

func TestModelRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		runModel(t, &arrivals{tat: map[int]int64{}}, 10*time.Second, func(t *rapid.T) Limit {
			l, err := Rate(
				rapid.SampledFrom([]float64{0.1, 1, 3, 100, 1e6}).Draw(t, "rate"), time.Second,
				rapid.SampledFrom([]int{1, 2, 5, 20, 1 << 20}).Draw(t, "burst"))
			return drawOverdraft(t, l, err)
		})
	})
}

func TestModelWindow(t *testing.T) {
	// Windows of one test share their period: a change of it starts keys afresh.
	rapid.Check(t, func(t *rapid.T) {
		period := rapid.SampledFrom([]time.Duration{time.Second, 7 * time.Minute, 999999937}).Draw(t, "period")
		runModel(t, &tallies{keys: map[int]*tally{}}, period, func(t *rapid.T) Limit {
			l, err := Window(rapid.SampledFrom([]int{1, 2, 5, 20, maxCount - 20}).Draw(t, "count"), period)
			return drawOverdraft(t, l, err)
		})
	})
}
