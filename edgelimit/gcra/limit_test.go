package gcra

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func mustRate(t testing.TB, n float64, per time.Duration, burst int) *Limit {
	t.Helper()
	l, err := Rate(n, per, burst)
	require.NoError(t, err)
	return &l
}

func mustWindow(t testing.TB, n int, per time.Duration) *Limit {
	t.Helper()
	l, err := Window(n, per)
	require.NoError(t, err)
	return &l
}

func TestRateErrors(t *testing.T) {
	for name, c := range map[string]struct {
		n     float64
		per   time.Duration
		burst int
		want  error
	}{
		"good":             {100, time.Second, 200, nil},
		"one a day":        {1, 24 * time.Hour, 1, nil},
		"fastest":          {1e6, time.Second, 1, nil},
		"fastest a minute": {6e7, time.Minute, 1, nil},
		"longest":          {1, 24 * time.Hour, 208, nil},
		"zero":             {0, time.Second, 1, ErrRate},
		"negative":         {-1, time.Second, 1, ErrRate},
		"not a number":     {math.NaN(), time.Second, 1, ErrRate},
		"infinite":         {math.Inf(1), time.Second, 1, ErrRate},
		"too fast":         {1000001, time.Second, 1, ErrRate},
		"no period":        {1, 0, 1, ErrPeriod},
		"negative period":  {1, -time.Second, 1, ErrPeriod},
		"no burst":         {1, time.Second, 0, ErrBurst},
		"negative burst":   {1, time.Second, -5, ErrBurst},
		"too slow":         {math.SmallestNonzeroFloat64, time.Second, 1, ErrSpan},
		"209 days":         {1, 24 * time.Hour, 209, ErrSpan},
		"burst overflows":  {1, time.Second, math.MaxInt, ErrSpan},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Rate(c.n, c.per, c.burst)
			require.ErrorIs(t, err, c.want)
		})
	}
}

func TestWindowErrors(t *testing.T) {
	for name, c := range map[string]struct {
		n    int
		per  time.Duration
		want error
	}{
		"good":            {100, time.Minute, nil},
		"most":            {65535, 208 * 24 * time.Hour, nil},
		"zero":            {0, time.Second, ErrBurst},
		"negative":        {-1, time.Second, ErrBurst},
		"too many":        {65536, time.Second, ErrCount},
		"no period":       {1, 0, ErrPeriod},
		"negative period": {1, -1, ErrPeriod},
		"too long":        {1, 209 * 24 * time.Hour, ErrSpan},
		"overflow":        {1, math.MaxInt64, ErrSpan},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Window(c.n, c.per)
			require.ErrorIs(t, err, c.want)
		})
	}
}

func TestOverdraftErrors(t *testing.T) {
	slow, counted := mustRate(t, 1, 24*time.Hour, 200), mustWindow(t, 65000, time.Second)
	for name, c := range map[string]struct {
		l    *Limit
		n    int
		want error
	}{
		"none":                  {slow, 0, nil},
		"some":                  {slow, 8, nil},
		"more than a span":      {slow, 9, ErrSpan},
		"negative":              {slow, -1, ErrExcess},
		"overflow":              {slow, math.MaxInt, ErrSpan},
		"window":                {counted, 535, nil},
		"window beyond 16 bits": {counted, 536, ErrCount},
		"of the zero limit":     {&Limit{}, 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.l.Overdraft(c.n)
			require.ErrorIs(t, err, c.want)
		})
	}
}

func TestZeroLimitRefuses(t *testing.T) {
	table, k := New(0), HashString("k")
	require.Equal(t, Verdict{RetryAfter: Never}, table.Charge(k, &Limit{}, 1, 0))
	require.Equal(t, Verdict{RetryAfter: Never}, table.Force(k, &Limit{}, 1, 0))
	require.Equal(t, Verdict{Allowed: true}, table.Charge(k, &Limit{}, 0, 0))
	used, _ := table.Count(&Limit{}, 0)
	require.Zero(t, used)
}

func TestRateNeverTooFast(t *testing.T) {
	for n, most := range map[float64]float64{1: 1e-6, 100: 1.3e-5, 1e4: 0.003, 1e6: 0.025} {
		l := mustRate(t, n, time.Second, 1)
		got := 1e9 / float64(l.ticks<<tickBits)
		require.LessOrEqual(t, got, n)
		require.LessOrEqual(t, (n-got)/n, most, "at %v per second", n)
	}
}

func TestRateVerdicts(t *testing.T) {
	table, k := New(0), HashString("k")
	// 1024 ns, so that ticks and nanoseconds agree.
	l := mustRate(t, 1, 1024*time.Nanosecond, 3)
	now := Time(1 << 30)
	for i, want := range []Verdict{
		{Allowed: true, Remaining: 2, Reset: 1024},
		{Allowed: true, Remaining: 1, Reset: 2048},
		{Allowed: true, Remaining: 0, Reset: 3072},
		{RetryAfter: 1024, Reset: 3072},
		{RetryAfter: 1024, Reset: 3072},
	} {
		require.Equal(t, want, table.Charge(k, l, 1, now), "charge %d", i)
	}
	require.Equal(t, Verdict{RetryAfter: 2048, Reset: 3072}, table.Check(k, l, 2, now))
	require.Equal(t, Verdict{RetryAfter: Never, Reset: 3072}, table.Check(k, l, 4, now))
	require.Equal(t, Verdict{Allowed: true, Reset: 3072}, table.Charge(k, l, 0, now))
	require.Equal(t, Verdict{Allowed: true, Reset: 3072}, table.Charge(k, l, -7, now))
	require.False(t, table.Charge(k, l, 1, now+1023).Allowed)
	require.Equal(t, Verdict{Allowed: true, Reset: 3072}, table.Charge(k, l, 1, now+1024))
	require.Equal(t, Verdict{Allowed: true, Remaining: 3}, table.Check(k, l, 3, now+1024+3072))
}

func TestBurstOfOne(t *testing.T) {
	table, k, l := New(0), HashString("k"), mustRate(t, 1, time.Second, 1)
	require.True(t, table.Charge(k, l, 1, 0).Allowed)
	require.Equal(t, Verdict{RetryAfter: time.Second, Reset: time.Second}, table.Charge(k, l, 1, 0))
	require.True(t, table.Charge(k, l, 1, Time(time.Second)).Allowed)
}

func TestHugeBurst(t *testing.T) {
	table, k := New(0), HashString("k")
	l := mustRate(t, 1e6, time.Second, 1<<44)
	v := table.Charge(k, l, 1<<44-1, 0)
	require.True(t, v.Allowed)
	require.Equal(t, 1, v.Remaining)
	require.True(t, table.Charge(k, l, 1, 0).Allowed)
	require.False(t, table.Charge(k, l, 1, 0).Allowed)
	require.Equal(t, Never, table.Charge(k, l, math.MaxInt, 0).RetryAfter)
	require.Equal(t, 0, table.Force(k, l, math.MaxInt, 0).Remaining)
	table.Refund(k, l, math.MaxInt, 0)
	require.Equal(t, 1<<44, table.Check(k, l, 1, 0).Remaining)
}

func TestForceIsBounded(t *testing.T) {
	for name, l := range map[string]*Limit{
		"rate":   mustRate(t, 1, time.Second, 5),
		"window": mustWindow(t, 5, 5*time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			table, k := New(0), HashString("k")
			require.True(t, table.Force(k, l, 5, 0).Allowed)
			exhausted := table.Check(k, l, 1, 0)
			require.False(t, exhausted.Allowed)
			require.False(t, table.Force(k, l, 1000, 0).Allowed)
			require.Equal(t, exhausted, table.Check(k, l, 1, 0), "no debt beyond the burst")

			deep, err := l.Overdraft(2)
			require.NoError(t, err)
			table.Force(k, &deep, 1000, 0)
			table.Refund(k, &deep, 2, 0)
			require.Equal(t, exhausted, table.Check(k, &deep, 1, 0), "two beyond the burst")
		})
	}
}

func TestChangedRateAppliesAtOnce(t *testing.T) {
	table, k := New(0), HashString("k")
	slow, fast := mustRate(t, 1, time.Hour, 10), mustRate(t, 10, time.Second, 5)
	for range 10 {
		require.True(t, table.Charge(k, slow, 1, 0).Allowed)
	}
	v := table.Check(k, fast, 1, 0)
	require.False(t, v.Allowed)
	require.Equal(t, fast.wait(1), v.RetryAfter)
	now := Time(v.RetryAfter)
	require.True(t, table.Check(k, fast, 1, now).Allowed, "the old debt is gone after one refusal")
	require.True(t, table.Charge(k, fast, 1, now).Allowed)
	require.True(t, table.Charge(k, slow, 9, now).Allowed, "half a second of debt is little at the slow rate")
}

// wait is the time in which a rate regains n units.
func (l *Limit) wait(n uint64) time.Duration { return span(l.ticks * n) }

func TestChangedWindowAppliesAtOnce(t *testing.T) {
	table, k := New(0), HashString("k")
	wide, narrow := mustWindow(t, 100, time.Second), mustWindow(t, 10, time.Second)
	require.True(t, table.Charge(k, wide, 100, 0).Allowed)
	require.Equal(t, Verdict{RetryAfter: 1100 * time.Millisecond, Reset: 2 * time.Second},
		roundUp(table.Charge(k, narrow, 1, 0)))
	require.True(t, table.Charge(k, mustWindow(t, 150, time.Second), 50, 0).Allowed)
}

// roundUp hides that times are multiples of 256 ns.
func roundUp(v Verdict) Verdict {
	v.RetryAfter = v.RetryAfter.Round(time.Microsecond)
	v.Reset = v.Reset.Round(time.Microsecond)
	return v
}

func TestWindowSlides(t *testing.T) {
	table, k, l := New(0), HashString("k"), mustWindow(t, 10, 1024*time.Microsecond)
	at := func(micros int) Time { return Time(micros) * 1000 }
	require.True(t, table.Charge(k, l, 10, at(992)).Allowed)
	require.Equal(t, Verdict{RetryAfter: 134400, Reset: 1056000}, table.Charge(k, l, 1, at(992)))
	require.Equal(t, 5, table.Check(k, l, 1, at(1024+512)).Remaining)
	require.True(t, table.Charge(k, l, 5, at(1024+512)).Allowed)
	require.False(t, table.Charge(k, l, 1, at(1024+512)).Allowed)
	require.Equal(t, Verdict{Allowed: true, Remaining: 10}, table.Check(k, l, 10, at(3*1024)))
}

func TestWindowBeforeTheEpoch(t *testing.T) {
	table, k, l := New(0), HashString("k"), mustWindow(t, 10, time.Second)
	require.True(t, table.Charge(k, l, 10, Time(-2*time.Second)).Allowed)
	require.Equal(t, 2*time.Second, table.Check(k, l, 1, Time(-2*time.Second)).Reset.Round(time.Microsecond))
	require.False(t, table.Charge(k, l, 1, Time(-time.Second)).Allowed)
	require.True(t, table.Charge(k, l, 10, 0).Allowed)
}

func TestClockStepsBack(t *testing.T) {
	for name, l := range map[string]*Limit{
		"rate":   mustRate(t, 10, time.Second, 10),
		"window": mustWindow(t, 10, time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			table, k := New(0), HashString("k")
			now := Time(5 * time.Second)
			require.True(t, table.Charge(k, l, 10, now).Allowed)
			before := now.Add(-300 * time.Millisecond)
			v := table.Charge(k, l, 1, before)
			require.False(t, v.Allowed)
			require.True(t, table.Check(k, l, 1, before.Add(v.RetryAfter)).Allowed)
			require.False(t, table.Check(k, l, 1, before.Add(v.RetryAfter-256)).Allowed)
			require.Zero(t, table.Check(k, l, 1, before.Add(v.Reset)).Reset)
		})
	}
}

func TestLongSilence(t *testing.T) {
	const day = Time(24 * time.Hour)
	l := mustRate(t, 1, time.Second, 5)
	table, k := New(0), HashString("k")
	require.True(t, table.Charge(k, l, 5, 0).Allowed)
	for _, days := range []Time{1, 208, 300, 417, 500, 620} {
		require.Equal(t, Verdict{Allowed: true, Remaining: 5}, table.Check(k, l, 5, days*day), "after %d days", days)
	}
}

func TestClockWraps(t *testing.T) {
	const cycle = Time(1) << (48 + tickBits)
	for name, l := range map[string]*Limit{
		"rate":   mustRate(t, 1, time.Second, 5),
		"window": mustWindow(t, 5, 5*time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			table, k := New(0), HashString("k")
			before := cycle - Time(time.Second)
			require.True(t, table.Charge(k, l, 5, before).Allowed)
			v := table.Charge(k, l, 1, before)
			require.False(t, v.Allowed)
			require.False(t, table.Check(k, l, 1, before.Add(v.RetryAfter-256)).Allowed)
			require.True(t, table.Charge(k, l, 1, before.Add(v.RetryAfter)).Allowed)
			require.Equal(t, 5, table.Check(k, l, 1, before.Add(20*time.Second)).Remaining)
		})
	}
}

func TestRefund(t *testing.T) {
	for name, l := range map[string]*Limit{
		"rate":   mustRate(t, 1, time.Second, 5),
		"window": mustWindow(t, 5, 5*time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			table, k := New(0), HashString("k")
			table.Refund(k, l, 3, 0)
			used, _ := table.Count(l, 0)
			require.Zero(t, used, "an absent key stays absent")
			require.True(t, table.Charge(k, l, 5, 0).Allowed)
			table.Refund(k, l, -3, 0)
			require.Equal(t, 0, table.Check(k, l, 0, 0).Remaining)
			table.Refund(k, l, 2, 0)
			require.Equal(t, 2, table.Check(k, l, 0, 0).Remaining)
			table.Refund(k, l, 100, 0)
			require.Equal(t, Verdict{Allowed: true, Remaining: 5}, table.Check(k, l, 0, 0))
		})
	}
}

func TestTime(t *testing.T) {
	start := time.Now()
	require.Equal(t, 3*time.Second, time.Duration(At(start.Add(3*time.Second))-At(start)))
	require.Equal(t, At(start).Add(time.Minute), At(start.Add(time.Minute)))
	first := Now()
	require.GreaterOrEqual(t, first, At(start))
	require.LessOrEqual(t, first, Now())
	require.Equal(t, []uint64{1, 1, 2}, []uint64{ticksUp(1), ticksUp(256), ticksUp(257)})
}
