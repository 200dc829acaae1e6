package gcra

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestAdopt: windows of another length go on with what was used, shorter or longer,
// and forget it in their own time.
func TestAdopt(t *testing.T) {
	const second, minute, hour = Time(time.Second), Time(time.Minute), Time(time.Hour)
	for name, c := range map[string]struct {
		per   time.Duration
		n     int
		left  int // at once
		after Time
		then  int
	}{
		"longer":           {time.Hour, 100, 93, 3 * hour, 100},
		"longer, less":     {time.Hour, 5, 0, 3 * hour, 5},
		"shorter":          {time.Second, 100, 93, 3 * second, 100},
		"shorter, less":    {time.Second, 5, 0, 3 * second, 5},
		"not forgotten":    {time.Hour, 100, 93, minute, 93},
		"another prime":    {7 * time.Second, 10, 3, 20 * second, 10},
		"the longest":      {208 * 24 * time.Hour, 10, 3, hour, 3},
		"as short as goes": {time.Nanosecond, 10, 3, second, 10},
	} {
		t.Run(name, func(t *testing.T) {
			// The counts lie in two windows: 10 in the one before, half of which counts, and 2.
			was, is := mustWindow(t, 20, time.Minute), mustWindow(t, c.n, c.per)
			now := 10000*hour + 90*second
			from, to := New(0), New(0)
			from.Charge(neighbour(7, 1), was, 10, now-60*second)
			from.Charge(neighbour(7, 1), was, 2, now)
			require.Equal(t, 13, from.Check(neighbour(7, 1), was, 0, now).Remaining)
			to.Adopt(from, was, is, now)
			require.Equal(t, c.left, to.Check(neighbour(7, 1), is, 0, now).Remaining)
			require.Equal(t, c.then, to.Check(neighbour(7, 1), is, 0, now+c.after).Remaining)
			require.Equal(t, c.n, to.Check(neighbour(7, 2), is, 0, now).Remaining, "others are others")
			require.Equal(t, 13, from.Check(neighbour(7, 1), was, 0, now).Remaining, "the old table is as it was")
		})
	}
}

// TestAdoptKeepsWhatIsMore: adopting twice, and back, makes nothing more or less.
func TestAdoptKeepsWhatIsMore(t *testing.T) {
	was, is := mustWindow(t, 10, time.Minute), mustWindow(t, 100, time.Hour)
	from, to := New(0), New(0)
	k := neighbour(7, 1)
	from.Charge(k, was, 4, 0)
	to.Charge(k, is, 1, 0)
	for range 2 {
		to.Adopt(from, was, is, 0)
		require.Equal(t, 96, to.Check(k, is, 0, 0).Remaining)
		from.Adopt(to, is, was, 0)
		require.Equal(t, 6, from.Check(k, was, 0, 0).Remaining)
	}
	to.Charge(k, is, 3, 0)
	to.Adopt(from, was, is, 0)
	require.Equal(t, 93, to.Check(k, is, 0, 0).Remaining)
}

// TestAdoptNothing: what idle keys used is over, and tables that have nothing to do
// with one another are left alone.
func TestAdoptNothing(t *testing.T) {
	was, is, other := mustWindow(t, 10, time.Minute), mustWindow(t, 10, time.Hour), mustRate(t, 1, time.Second, 10)
	k := neighbour(7, 1)
	for name, adopt := range map[string]func(from, to *Table){
		"idle":       func(from, to *Table) { to.Adopt(from, was, is, Time(time.Hour)) },
		"from rates": func(from, to *Table) { to.Adopt(from, other, is, 0) },
		"to rates":   func(from, to *Table) { to.Adopt(from, was, other, 0) },
		"smaller":    func(from, to *Table) { New(128).Adopt(from, was, is, 0) },
	} {
		from, to := New(0), New(0)
		from.Charge(k, was, 10, 0)
		adopt(from, to)
		used, _ := to.Count(is, 0)
		require.Zero(t, used, name)
	}
}

// TestAdoptGivesNobodyMore: whatever the lengths and counts, nobody has used less
// than before, and nobody more than rounding up makes of it.
func TestAdoptGivesNobodyMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := rapid.Map(rapid.Int64Range(1, int64(100*24*time.Hour)), func(n int64) time.Duration { return time.Duration(n) })
		was, err := Window(maxCount, length.Draw(t, "was"))
		require.NoError(t, err)
		is, err := Window(maxCount, length.Draw(t, "is"))
		require.NoError(t, err)
		now := Time(rapid.Int64Range(0, int64(1000*24*time.Hour)).Draw(t, "now"))
		from, to := New(0), New(0)
		k := neighbour(7, 1)
		from.Force(k, &was, rapid.IntRange(0, maxCount).Draw(t, "before"), now-Time(rapid.Int64Range(0, int64(was.ticks)<<tickBits).Draw(t, "ago")))
		from.Force(k, &was, rapid.IntRange(0, maxCount).Draw(t, "cost"), now)
		to.Adopt(from, &was, &is, now)
		require.Equal(t, from.Check(k, &was, 0, now).Remaining, to.Check(k, &is, 0, now).Remaining)
	})
}
