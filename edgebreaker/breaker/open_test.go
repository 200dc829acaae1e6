package breaker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestBackoff(t *testing.T) {
	least, most := 30*time.Second, 5*time.Minute
	for reopens, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 5 * time.Minute} {
		require.Equal(t, want, backoff(least, most, reopens, 0))
	}
	require.Equal(t, 33*time.Second, backoff(least, most, 0, 1))
	require.Equal(t, most, backoff(least, most, 1_000_000_000, 1))
	require.Equal(t, least, backoff(least, least, 3, 1), "exact when both are alike")
	rapid.Check(t, func(t *rapid.T) {
		least := time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(longestOpen)).Draw(t, "least"))
		most := time.Duration(rapid.Int64Range(int64(least), int64(longestOpen)).Draw(t, "most"))
		reopens := rapid.IntRange(0, 100).Draw(t, "reopens")
		random := rapid.Float64Range(0, 1).Draw(t, "random")
		d := backoff(least, most, reopens, random)
		require.GreaterOrEqual(t, d, least)
		require.LessOrEqual(t, d, most)
		require.GreaterOrEqual(t, backoff(least, most, reopens+1, random), d)
	})
}

// TestOpenTimeGrowsAndStartsOver follows a backend that comes and goes.
func TestOpenTimeGrowsAndStartsOver(t *testing.T) {
	c := rules()
	b := New("", noJitter)
	now := start
	fail := func() Change {
		for {
			if change := exchange(t, b, now, c, Failure); change.To == Open && change.Changed() {
				return change
			}
		}
	}
	require.Equal(t, 30*time.Second, fail().OpenFor)
	first, _ := b.EjectedAt()
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute} {
		now = now.Add(5 * time.Minute)
		require.Equal(t, want, fail().OpenFor, "a probe failed")
		again, out := b.EjectedAt()
		require.True(t, out)
		require.Equal(t, first, again, "it has been out since it opened first")
	}
	recover := func() {
		now = now.Add(5 * time.Minute)
		for range c.Successes {
			exchange(t, b, now, c, Success)
		}
		require.Equal(t, Closed, b.State())
	}
	recover()
	now = now.Add(5*time.Minute - 1)
	require.Equal(t, 5*time.Minute, fail().OpenFor, "closed for less than it had been open")
	require.Equal(t, 5, b.Status(now).Reopens)
	recover()
	now = now.Add(5 * time.Minute)
	require.Equal(t, 30*time.Second, fail().OpenFor)
	require.Zero(t, b.Status(now).Reopens)
	recover()
	now = now.Add(29 * time.Second)
	require.Equal(t, time.Minute, fail().OpenFor)
}

func TestJitterComesFromTheSource(t *testing.T) {
	c := rules()
	b := New("", func() float64 { return 0.5 })
	var change Change
	for range 5 {
		change = exchange(t, b, start, c, Failure)
	}
	require.Equal(t, 31500*time.Millisecond, change.OpenFor)
	require.False(t, b.Ready(start.Add(change.OpenFor-1), c))
	require.True(t, b.Ready(start.Add(change.OpenFor), c))
	require.Equal(t, start.Add(change.OpenFor), b.Status(start).OpenUntil)
}

// TestReinstatedShareHalves: an open backend that is used nevertheless gets the less
// the more often in a row it fails, and all again once it works. A new opening starts
// afresh.
func TestReinstatedShareHalves(t *testing.T) {
	b, c := in(t, "open")
	use := func(o Outcome) float64 {
		a := b.Observe(start)
		if o != Ignored {
			a.Header(start, time.Millisecond, o)
		}
		a.End(start, o)
		return b.Reinstated()
	}
	require.InDelta(t, 1, b.Reinstated(), 0)
	require.InDelta(t, 0.5, use(Failure), 0)
	require.InDelta(t, 0.5, use(Ignored), 0)
	require.InDelta(t, 0.25, use(Failure), 0)
	require.InDelta(t, 1, use(Success), 0)
	for range 100 {
		use(Failure)
	}
	require.InDelta(t, 1.0/1024, b.Reinstated(), 0)

	late := b.Observe(start)
	b.Force(start, ForceClosed)
	b.Force(start, Auto)
	for b.State() == Closed {
		a := mustEnter(t, b, start, c)
		a.End(start, Failure)
	}
	late.End(start, Failure)
	require.InDelta(t, 1, b.Reinstated(), 0)
}

// TestRunOfHeadersOutlivesOldBodies: responses that began before a run of failures,
// and end well within it, do not end it.
func TestRunOfHeadersOutlivesOldBodies(t *testing.T) {
	b, c := in(t, "closed")
	old := make([]*Attempt, c.Failures)
	for i := range old {
		old[i] = mustEnter(t, b, start, c)
		old[i].Header(start, time.Millisecond, Success)
	}
	for i := range old {
		require.Equal(t, Closed, b.State())
		a := mustEnter(t, b, start, c)
		a.End(start, Failure)
		old[i].End(start, Success)
	}
	require.Equal(t, Open, b.State())

	b, c = in(t, "closed")
	slow := mustEnter(t, b, start, c)
	slow.Header(start, time.Millisecond, Ignored) // the client still sends
	failing := mustEnter(t, b, start, c)
	failing.End(start, Failure)
	slow.End(start, Success)
	require.Zero(t, b.Status(start).ConsecutiveFailures)
}
