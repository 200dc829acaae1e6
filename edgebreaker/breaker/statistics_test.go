package breaker

import (
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func TestStatistics(t *testing.T) {
	b, c := in(t, "closed")
	now := start
	for n := range 2000 { // 100 per second, one in ten fails, one in 25 is slow
		now = start.Add(time.Duration(n) * 10 * time.Millisecond)
		latency, o := 10*time.Millisecond, Success
		if n%25 == 0 {
			latency = time.Second
		}
		if n%10 == 9 {
			o = Failure
		}
		a := mustEnter(t, b, now, c)
		a.Header(now, latency, o)
		a.End(now, o)
	}
	s := b.Status(now)
	require.InEpsilon(t, 100, s.RPS, 0.02)
	require.InDelta(t, 0.1, s.ErrorRatio, 0.002)
	require.InEpsilon(t, 10*time.Millisecond, s.P50, 0.06)
	require.InEpsilon(t, 10*time.Millisecond, s.P95, 0.06)
	require.InEpsilon(t, time.Second, s.P99, 0.06)

	s = b.Status(now.Add(5 * time.Second))
	require.InEpsilon(t, 50, s.RPS, 0.15)
	require.Positive(t, s.P50)
	s = b.Status(now.Add(12 * time.Second))
	require.Zero(t, s.RPS)
	require.Zero(t, s.ErrorRatio)
	require.Zero(t, s.P50)
	require.Zero(t, s.P99)
}

// TestStatisticsForgetInOneStep has no look in between.
func TestStatisticsForgetInOneStep(t *testing.T) {
	for after := 12 * time.Second; after < 40*time.Second; after += time.Second {
		b, c := in(t, "closed")
		for n := range 20 {
			exchange(t, b, start.Add(time.Duration(n)*time.Second), c, Success)
		}
		s := b.Status(start.Add(19*time.Second + after))
		require.Zero(t, s.RPS)
		require.Zero(t, s.P50)
	}
}

// TestStatisticsCountWhatIsNotJudged: of another epoch, of no rules, ignored.
func TestStatisticsCountWhatIsNotJudged(t *testing.T) {
	b, c := in(t, "closed")
	old := mustEnter(t, b, start, c)
	for range 5 {
		exchange(t, b, start, c, Failure)
	}
	observed := b.Observe(start)
	require.False(t, old.Header(start, time.Minute, Success).Changed())
	old.End(start, Failure)
	observed.End(start, Success)
	s := b.Status(start.Add(time.Second))
	require.InEpsilon(t, 6.0/7, s.ErrorRatio, 1e-9)
	require.InDelta(t, 7.0/10.5, s.RPS, 0.04)
	require.InEpsilon(t, time.Minute, s.P99, 0.06)
}

func TestLatencyFollowsARiseAtOnce(t *testing.T) {
	b, c := in(t, "closed")
	call := func(now time.Time, latency time.Duration, o Outcome) {
		a := mustEnter(t, b, now, c)
		a.Header(now, latency, o)
		a.End(now, Success)
	}
	require.Zero(t, b.Latency(start))
	call(start, 10*time.Millisecond, Success)
	require.Equal(t, 10*time.Millisecond, b.Latency(start))
	call(start, time.Second, Success)
	require.Equal(t, time.Second, b.Latency(start))
	call(start, time.Millisecond, Success)
	require.Equal(t, time.Second, b.Latency(start), "in no time nothing falls")
	now := start
	for range 1000 {
		now = now.Add(10 * time.Millisecond)
		call(now, 10*time.Millisecond, Success)
	}
	require.InEpsilon(t, float64(10*time.Millisecond)+float64(990*time.Millisecond)/2.71828, b.Latency(now), 0.01, "a time constant later")
	was := b.Latency(now)
	require.InEpsilon(t, float64(was)/2.71828, b.Latency(now.Add(10*time.Second)), 0.01, "it sinks without samples")
	require.Equal(t, time.Duration(1), b.Latency(now.Add(1000*time.Hour)), "and stays known")
	later := now.Add(10 * time.Second)
	was = b.Latency(later)
	call(later, time.Microsecond, Failure)
	require.Equal(t, was, b.Latency(later), "who fails fast is not fast")
	call(now, time.Minute, Failure)
	require.Equal(t, time.Minute, b.Latency(now))
	b.Recovered(now, now)
	require.Zero(t, b.Latency(now))
	call(now, 0, Success)
	require.Equal(t, time.Duration(1), b.Latency(now), "0 means not known")
}

func TestOpeningForgetsTheLatency(t *testing.T) {
	b, c := in(t, "open")
	require.Zero(t, b.Latency(start))
	now := start.Add(c.OpenFor)
	for range c.Successes {
		a := mustEnter(t, b, now, c)
		a.Header(now, time.Second, Success)
		a.End(now, Success)
	}
	require.Equal(t, Closed, b.State())
	require.Equal(t, time.Second, b.Latency(now), "that of the probes stays")
}

func TestMemory(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(Backend{})+unsafe.Sizeof(window{}), uintptr(8192))
	require.LessOrEqual(t, unsafe.Sizeof(Backend{}), uintptr(3072), "without rules that need a window")
}

func TestNoAllocation(t *testing.T) {
	c := ratioRules()
	c.Ramp = Ramp{Linear: time.Minute}
	b := New("", nil)
	exchange(t, b, start, c, Success) // makes the window
	now := start
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Millisecond)
		b.Ready(now, c)
		b.Share(now, c)
		b.Latency(now)
		b.EjectedAt()
		a, _, _ := b.Enter(now, c)
		a.Header(now, time.Millisecond, Success)
		a.End(now, Success)
		o := b.Observe(now)
		o.End(now, Ignored)
	}))
}
