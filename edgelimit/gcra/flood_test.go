package gcra

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// flood is a simulated attack: every abuser sends at ten times its rate while
// keys that are seen only once come in between.
type flood struct {
	slots, abusers, oneShots int
	length                   time.Duration
}

type floodResult struct {
	legal        float64 // units that one abuser may have
	passed, most int     // units that all abusers and the luckiest one had
	freshRefused int
	evicted      uint64
	bytes        int
	abusers      int
}

// scatter turns a number into a key that is as good as hashed, and the same in
// every run.
func scatter(n uint64) Key {
	mix := func(z uint64) uint64 {
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return z ^ z>>31
	}
	return Key{mix(2*n + 1), mix(mix(2 * n))}
}

func (f flood) run(t testing.TB) floodResult {
	const perSecond, burst = 10, 20
	l := mustRate(t, perSecond, time.Second, burst)
	table := New(f.slots)
	seconds := f.length.Seconds()
	r := floodResult{legal: burst + perSecond*seconds, bytes: table.Bytes(), abusers: f.abusers}
	requests := f.abusers * int(10*perSecond*seconds)
	passed := make([]int, f.abusers)
	fresh := 0
	for i := range requests {
		now := Time(float64(f.length) * float64(i) / float64(requests))
		abuser := i % f.abusers
		if table.Charge(scatter(uint64(abuser)), l, 1, now).Allowed {
			passed[abuser]++
		}
		for ; fresh*requests < f.oneShots*i; fresh++ {
			if !table.Charge(scatter(1<<40+uint64(fresh)), l, 1, now).Allowed {
				r.freshRefused++
			}
		}
	}
	for _, n := range passed {
		r.passed += n
		r.most = max(r.most, n)
	}
	r.evicted = table.Evicted()
	return r
}

func (r floodResult) check(t testing.TB) {
	require.LessOrEqual(t, float64(r.most), r.legal, "the luckiest abuser")
	require.GreaterOrEqual(t, float64(r.passed), 0.99*math.Floor(r.legal)*float64(r.abusers), "abusers still get their share")
	require.Zero(t, r.freshRefused)
	require.Positive(t, r.evicted, "the flood must be larger than the table")
}

// BenchmarkFlood runs the whole of it.
func TestFlood(t *testing.T) {
	f := flood{slots: 1 << 12, abusers: 63, oneShots: 625_000, length: 10 * time.Second}
	r := f.run(t)
	t.Logf("abusers passed %d of %.0f legal, the luckiest %d of %.0f; %d of %d fresh keys refused; %d keys in debt evicted from %d bytes",
		r.passed, r.legal*float64(r.abusers), r.most, r.legal, r.freshRefused, f.oneShots, r.evicted, r.bytes)
	r.check(t)
}
