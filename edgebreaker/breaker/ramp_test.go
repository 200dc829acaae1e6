package breaker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRampInSteps(t *testing.T) {
	c := rules()
	c.Ramp = Ramp{Shares: []float64{0.25, 0.5, 0.75, 1}, Each: 10 * time.Second}
	require.NoError(t, c.Validate())
	b := New("", noJitter)
	require.InDelta(t, 1, b.Share(start, c), 0, "no slow start at the beginning")
	b.Recovered(start, start)
	for after, want := range map[time.Duration]float64{
		-time.Hour: 0.25, 0: 0.25, 10*time.Second - 1: 0.25, 10 * time.Second: 0.5, 25 * time.Second: 0.75, 30 * time.Second: 1, time.Hour: 1,
	} {
		require.InDelta(t, want, b.Share(start.Add(after), c), 0, "after %s", after)
	}
	require.InDelta(t, 1, b.Share(start, rules()), 0, "each handler has its own")
}

func TestRampInOneSlope(t *testing.T) {
	r := Ramp{Linear: 10 * time.Second}
	for after, want := range map[time.Duration]float64{
		-1: 0.1, 0: 0.1, time.Second: 0.1, 5 * time.Second: 0.5, 10 * time.Second: 1, time.Hour: 1,
	} {
		require.InDelta(t, want, r.share(after), 1e-9, "after %s", after)
	}
}

func TestRampFollowsARecovery(t *testing.T) {
	b, c := in(t, "open")
	c.Ramp = Ramp{Shares: []float64{0.5}, Each: 10 * time.Second}
	require.InDelta(t, 0.5, b.Share(start, c), 0, "probes are few")
	b.Recovered(start, start)
	now := start.Add(c.OpenFor)
	for range c.Successes {
		exchange(t, b, now, c, Success)
		require.InDelta(t, 0.5, b.Share(now, c), 0)
	}
	require.Equal(t, Closed, b.State())
	require.InDelta(t, 0.5, b.Share(now.Add(10*time.Second-1), c), 0)
	require.InDelta(t, 1, b.Share(now.Add(10*time.Second), c), 0)
	b.Force(now, ForceClosed)
	require.InDelta(t, 1, b.Share(now, c), 0, "an operator means at once")
}

// TestOneRecoveryOneRamp: others that notice the same one change nothing.
func TestOneRecoveryOneRamp(t *testing.T) {
	c := rules()
	b := New("", noJitter)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	b.Recovered(at(10), at(5))
	require.Equal(t, ticks(at(10)), b.rampAt.Load())
	b.Recovered(at(11), at(6))
	require.Equal(t, ticks(at(10)), b.rampAt.Load(), "it began after it was seen down")
	b.Recovered(at(21), at(20))
	require.Equal(t, ticks(at(21)), b.rampAt.Load(), "another recovery, soon after")

	a, _, ok := b.Enter(at(31), c)
	require.True(t, ok)
	a.Header(at(35), 4*time.Second, Success) // one that had looked before
	b.Recovered(at(40), at(30))
	require.Equal(t, ticks(at(40)), b.rampAt.Load())
	a, _, ok = b.Enter(at(53), c)
	require.True(t, ok)
	a.Header(at(54), time.Second, Success)
	b.Recovered(at(3600), at(50))
	require.Equal(t, ticks(at(40)), b.rampAt.Load(), "it has answered others since")
	a, _, ok = b.Enter(at(3602), c)
	require.True(t, ok)
	a.Header(at(3603), time.Second, Failure)
	b.Recovered(at(3610), at(3601))
	require.Equal(t, ticks(at(3610)), b.rampAt.Load(), "it has not answered well")
}
