package breaker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// ratioRules have only the rules of a window.
func ratioRules() *Config {
	return &Config{
		FailureRatio: 0.5, FailureMinRequests: 20, SlowRatio: 0.25, SlowMinRequests: 8, Slow: time.Second, Window: 10 * time.Second,
		Successes: 1, Probes: 1, OpenFor: time.Second, MaxOpenFor: time.Second,
	}
}

func TestFailureRatio(t *testing.T) {
	c := ratioRules()
	b := New("", noJitter)
	for range 10 {
		require.False(t, exchange(t, b, start, c, Success).Changed())
	}
	for range 9 {
		require.False(t, exchange(t, b, start, c, Failure).Changed(), "below the ratio and the volume")
	}
	change := exchange(t, b, start, c, Failure)
	require.Equal(t, FailureRatio, change.Reason)
	require.InDelta(t, 0.5, change.Ratio, 0)
}

func TestVolume(t *testing.T) {
	c := ratioRules()
	b := New("", noJitter)
	for range 19 {
		require.False(t, exchange(t, b, start, c, Failure).Changed())
	}
	require.Equal(t, FailureRatio, exchange(t, b, start, c, Failure).Reason)
}

func TestWindowRolls(t *testing.T) {
	for _, w := range []time.Duration{time.Second, 10 * time.Second, 30 * time.Second, 31 * time.Second, 5 * time.Minute, 10 * time.Minute} {
		width := fineSlot
		if w > fineWindow {
			width = roughSlot
		}
		for _, test := range []struct {
			after time.Duration
			opens bool
		}{{0, true}, {w - 2*width, true}, {w, false}, {w + time.Hour, false}} {
			c := ratioRules()
			c.Window = w
			b := New("", noJitter)
			for range 19 {
				exchange(t, b, start, c, Failure)
			}
			change := exchange(t, b, start.Add(test.after), c, Failure)
			require.Equal(t, test.opens, change.Changed(), "%s after, window %s", test.after, w)
		}
	}
}

func TestSlowRatio(t *testing.T) {
	c := ratioRules()
	other := rules() // has no rule: its calls are neither slow nor fast
	other.Failures = 0
	call := func(b *Backend, c *Config, latency time.Duration) Change {
		a := mustEnter(t, b, start, c)
		change := a.Header(start, latency, Success)
		require.False(t, a.End(start, Success).Changed())
		return change
	}
	b := New("", noJitter)
	for range 6 {
		require.False(t, call(b, c, time.Second-1).Changed())
	}
	for range 100 {
		require.False(t, call(b, other, time.Hour).Changed())
	}
	require.False(t, call(b, c, time.Second).Changed(), "below the volume")
	for range 5 {
		a := mustEnter(t, b, start, c)
		require.False(t, a.End(start, Failure).Changed(), "without a header there is no latency")
	}
	change := call(b, c, time.Second)
	require.Equal(t, SlowRatio, change.Reason)
	require.InDelta(t, 0.25, change.Ratio, 0)
}

// TestSlowFailuresAreSlow: a deadline for the header is told as a latency.
func TestSlowFailuresAreSlow(t *testing.T) {
	c := ratioRules()
	c.FailureRatio = 0
	b := New("", noJitter)
	for n := range 8 {
		a := mustEnter(t, b, start, c)
		change := a.Header(start, time.Minute, Failure)
		require.Equal(t, n == 7, change.Changed())
		require.False(t, a.End(start, Failure).Changed())
	}
}

func TestWindowStartsAfresh(t *testing.T) {
	c := ratioRules()
	b := New("", noJitter)
	for range 20 {
		exchange(t, b, start, c, Failure)
	}
	now := start.Add(time.Second)
	require.Equal(t, ProbesSucceeded, exchange(t, b, now, c, Success).Reason)
	for range 19 {
		require.False(t, exchange(t, b, now, c, Failure).Changed(), "the failures from before are forgotten")
	}
	require.True(t, exchange(t, b, now, c, Failure).Changed())
}

// TestResetsOfOldStreams: more failures in the window than headers.
func TestResetsOfOldStreams(t *testing.T) {
	c := ratioRules()
	b := New("", noJitter)
	var streams []*Attempt
	for range 100 {
		a := mustEnter(t, b, start, c)
		a.Header(start, time.Millisecond, Success)
		streams = append(streams, a)
	}
	now := start.Add(time.Hour)
	for n, a := range streams[:20] {
		change := a.End(now, Failure)
		require.Equal(t, n == 19, change.Changed())
		if n == 19 {
			require.InDelta(t, 1, change.Ratio, 0)
		}
	}
}

// TestWindowWhenTimeGoesBackwards: a late look at the clock costs no results.
func TestWindowWhenTimeGoesBackwards(t *testing.T) {
	c := ratioRules()
	b := New("", noJitter)
	for n := range 20 {
		now := start
		if n == 10 {
			now = start.Add(-5 * time.Second)
		}
		require.Equal(t, n == 19, exchange(t, b, now, c, Failure).Changed())
	}
}

// TestRing compares a ring with a list.
func TestRing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w window
		now := rapid.Int64Range(-1e12, 1e12).Draw(t, "start")
		var times []int64
		for range rapid.IntRange(1, 50).Draw(t, "results") {
			now += rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 1e9), rapid.Int64Range(0, 2e12)).Draw(t, "pass")
			w.answered(now, false, fast)
			times = append(times, now)
			d := time.Duration(rapid.Int64Range(int64(leastWindow), int64(longestWindow)).Draw(t, "window"))
			width := fineSlot
			if d > fineWindow {
				width = roughSlot
			}
			now += rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 2e12)).Draw(t, "pass before the look")
			n := w.sum(now, d)
			most, least := 0, 0
			for _, at := range times {
				if now-at < int64(d) {
					most++
				}
				if now-at < int64(d-2*width) {
					least++
				}
			}
			require.GreaterOrEqual(t, n.answered, least)
			require.LessOrEqual(t, n.answered, most)
			require.Equal(t, n.answered, n.timed)
			require.Zero(t, n.failed+n.slow)
		}
	})
}
