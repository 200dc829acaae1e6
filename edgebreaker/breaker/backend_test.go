package breaker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// start is a time to begin with, always at the same place within the slots. Tests
// add to it and have no other clock.
var start = origin.Add(time.Hour + 123456789)

// rules are those of most tests, without jitter.
func rules() *Config {
	return &Config{Failures: 5, Successes: 3, Probes: 3, OpenFor: 30 * time.Second, MaxOpenFor: 5 * time.Minute, Window: 10 * time.Second}
}

func noJitter() float64 { return 0 }

// mustEnter begins an attempt that must be admitted.
func mustEnter(t require.TestingT, b *Backend, now time.Time, c *Config) *Attempt {
	a, _, ok := b.Enter(now, c)
	require.True(t, ok)
	return &a
}

// exchange is an attempt from begin to end.
func exchange(t require.TestingT, b *Backend, now time.Time, c *Config, o Outcome) Change {
	a := mustEnter(t, b, now, c)
	header := a.Header(now, time.Millisecond, o)
	end := a.End(now, o)
	require.False(t, header.Changed() && end.Changed())
	if header.Changed() {
		return header
	}
	return end
}

// opened returns a backend that has just opened.
func opened(t require.TestingT, c *Config) *Backend {
	b := New("10.0.0.1:80", noJitter)
	for range 4 {
		require.False(t, exchange(t, b, start, c, Failure).Changed())
	}
	require.Equal(t, ConsecutiveFailures, exchange(t, b, start, c, Failure).Reason)
	return b
}

func TestRoundTrip(t *testing.T) {
	c := rules()
	require.NoError(t, c.Validate())
	b := opened(t, c)
	require.Equal(t, Open, b.State())
	require.False(t, b.Ready(start.Add(c.OpenFor-1), c))
	_, change, ok := b.Enter(start.Add(c.OpenFor-1), c)
	require.False(t, ok)
	require.False(t, change.Changed())

	now := start.Add(c.OpenFor)
	require.True(t, b.Ready(now, c))
	a, change, ok := b.Enter(now, c)
	require.True(t, ok)
	require.Equal(t, Change{Backend: b, From: Open, To: HalfOpen, Reason: OpenTimeOver, At: now}, change)
	require.False(t, a.Header(now, time.Millisecond, Success).Changed())
	require.False(t, a.End(now, Success).Changed())
	require.False(t, exchange(t, b, now, c, Success).Changed())
	require.Equal(t, ProbesSucceeded, exchange(t, b, now, c, Success).Reason)
	require.Equal(t, Closed, b.State())
	require.Zero(t, b.Active())
}
