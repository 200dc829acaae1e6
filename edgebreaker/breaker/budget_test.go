package breaker

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func mustBudget(t require.TestingT, ratio float64, perSecond int) *Budget {
	b, err := NewBudget(ratio, perSecond)
	require.NoError(t, err)
	return b
}

// retries asks until the answer is no, at most a thousand times.
func retries(b *Budget, now time.Time) (n int) {
	for n < 1000 && b.Retry(now) {
		n++
	}
	return n
}

func TestBudgetIsAShareOfTheRequests(t *testing.T) {
	b := mustBudget(t, 0.2, 0)
	require.Zero(t, retries(b, start))
	for range 99 {
		b.Request(start)
	}
	require.Equal(t, 19, retries(b, start))
	b.Request(start)
	require.Equal(t, 1, retries(b, start))
	require.Zero(t, retries(b, start.Add(8*time.Second)))
	require.Zero(t, retries(b, start.Add(11*time.Second)), "both have gone by then")
	b.Request(start.Add(12 * time.Second))
	require.Zero(t, retries(b, start.Add(12*time.Second)))
}

func TestBudgetHasAFloor(t *testing.T) {
	b := mustBudget(t, 0, 3)
	at := func(second int) time.Time {
		return start.Truncate(time.Second).Add(time.Duration(second) * time.Second)
	}
	require.Equal(t, 30, retries(b, at(0)), "all of ten seconds, from the start")
	require.Zero(t, retries(b, at(9)))
	require.Equal(t, 30, retries(b, at(10)))
	b = mustBudget(t, 0.5, 3)
	for range 80 {
		b.Request(start)
	}
	require.Equal(t, 40, retries(b, start), "it is part of the share, not on top")
}

func TestBudgetGivesBack(t *testing.T) {
	b := mustBudget(t, 0, 1)
	b.Unused(start) // none is out
	require.Equal(t, 10, retries(b, start))
	b.Unused(start)
	require.Equal(t, 1, retries(b, start))
}

func TestNoBudget(t *testing.T) {
	b := mustBudget(t, 0, 0)
	for range 1000 {
		b.Request(start)
	}
	require.Zero(t, retries(b, start))
}

func TestBudgetErrors(t *testing.T) {
	_, err := NewBudget(-0.1, 0)
	require.EqualError(t, err, "retry_budget must be from 0% to 100%, not -10%")
	_, err = NewBudget(1.5, 0)
	require.EqualError(t, err, "retry_budget must be from 0% to 100%, not 150%")
	_, err = NewBudget(math.NaN(), 0)
	require.Error(t, err)
	_, err = NewBudget(0.2, -1)
	require.EqualError(t, err, "retry_budget must allow 0 retries per second or more, not -1")
}

// TestBudgetModel counts everything anew each time.
func TestBudgetModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ratio := rapid.Float64Range(0, 1).Draw(t, "ratio")
		floor := rapid.IntRange(0, 3).Draw(t, "floor")
		b := mustBudget(t, ratio, floor)
		now := start
		requests, sent := make(map[int64]int), make(map[int64]int) // by second
		for range 100 {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 0, 0, 100, 1000, 3000, 20_000}).Draw(t, "ms")) * time.Millisecond)
			second := slotOf(ticks(now), time.Second)
			if rapid.Bool().Draw(t, "request") {
				b.Request(now)
				requests[second]++
				continue
			}
			requested, retried := 0, 0
			for s := second - 9; s <= second; s++ {
				requested += requests[s]
				retried += sent[s]
			}
			want := retried < 10*floor || float64(retried+1) <= ratio*float64(requested)
			require.Equal(t, want, b.Retry(now))
			if want {
				sent[second]++
			}
		}
	})
}
