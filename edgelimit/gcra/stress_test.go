package gcra

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// crowd gives a test as many threads as goroutines, so that on few processors
// they are interrupted anywhere.
func crowd(t *testing.T, goroutines int) {
	before := runtime.GOMAXPROCS(goroutines)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

// together runs f on several goroutines that start at the same moment.
func together(goroutines int, f func(g int)) {
	var ready, done sync.WaitGroup
	gate := make(chan struct{})
	for g := range goroutines {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-gate
			f(g)
		})
	}
	ready.Wait()
	close(gate)
	done.Wait()
}

func rounds(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

// Keys that owe more than any fresh one stay, whatever happens around them in
// their set, and get their burst to the unit. A fresh key is never refused.
func TestStressExactUnderEviction(t *testing.T) {
	const goroutines, burst = 8, 20000
	crowd(t, goroutines)
	for name, l := range map[string]*Limit{
		"rate":   mustRate(t, 1, time.Second, burst),
		"window": mustWindow(t, burst, time.Hour),
	} {
		t.Run(name, func(t *testing.T) {
			table := New(0)
			const now = Time(time.Minute)
			hot := []Key{neighbour(0, 0), neighbour(0, 1), neighbour(16, 2)}
			var allowed [3]atomic.Int64
			for i, k := range hot {
				require.True(t, table.Charge(k, l, 10, now).Allowed)
				allowed[i].Store(10)
			}
			var refused atomic.Int64
			together(goroutines, func(g int) {
				for n := range rounds(10 * burst) {
					i := n % len(hot)
					switch {
					case n%11 == 0:
						fresh := neighbour(uint64(n/11%2*16), 1000+n*goroutines+g)
						if !table.Charge(fresh, l, 1, now).Allowed {
							refused.Add(1)
						}
					case n%13 == 0:
						table.Reset(neighbour(0, 1000+n*goroutines+g-goroutines))
					case n%17 == 0:
						if table.Charge(hot[i], l, 3, now).Allowed {
							table.Refund(hot[i], l, 3, now)
						}
					case table.Charge(hot[i], l, 1, now).Allowed:
						allowed[i].Add(1)
					}
				}
			})
			require.Zero(t, refused.Load(), "fresh keys refused")
			require.Positive(t, table.Evicted())
			for i, k := range hot {
				left := table.Check(k, l, 0, now).Remaining
				require.EqualValues(t, burst-left, allowed[i].Load(), "key %d", i)
				for table.Charge(k, l, 1, now).Allowed {
					allowed[i].Add(1)
				}
				require.EqualValues(t, burst, allowed[i].Load(), "key %d", i)
			}
		})
	}
}

// Many goroutines bring in the same key at once while others fill its set: it
// gets one slot and one burst.
func TestStressFirstCharge(t *testing.T) {
	const goroutines, burst = 4, 12
	l := mustRate(t, 1, time.Second, burst)
	table := New(0)
	n := rounds(10000)
	allowed := make([]atomic.Int32, n)
	var refused, arrived atomic.Int64
	together(goroutines, func(g int) {
		for i := range n {
			arrived.Add(1)
			for arrived.Load() < int64((i+1)*goroutines) {
				runtime.Gosched()
			}
			// All keys of earlier rounds are idle. A filler owes 1, the key at least 2.
			now := Time(i) * Time(time.Minute)
			for j := range 3 {
				if table.Charge(neighbour(0, i), l, 2, now).Allowed {
					allowed[i].Add(2)
				}
				filler := neighbour(0, 1<<20+(i*goroutines+g)*3+j)
				if !table.Charge(filler, l, 1, now).Allowed {
					refused.Add(1)
				}
			}
		}
	})
	require.Zero(t, refused.Load(), "fresh keys refused")
	for i := range allowed {
		require.EqualValues(t, burst, allowed[i].Load(), "round %d", i)
	}
}
