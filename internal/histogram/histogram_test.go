package histogram

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestHistogramIsWithinSixPerCent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		durations := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) time.Duration {
			exponent := rapid.Float64Range(math.Log(1e3), math.Log(3.6e12)).Draw(t, "log of ns")
			return time.Duration(math.Exp(exponent))
		}), 1, 100).Draw(t, "durations")
		q := rapid.Float64Range(0, 1).Draw(t, "quantile")
		var h Histogram
		for _, d := range durations {
			h.Record(d)
		}
		slices.Sort(durations)
		rank := max(int(math.Ceil(q*float64(len(durations)))), 1)
		require.Equal(t, len(durations), h.Len())
		require.InEpsilon(t, durations[rank-1], h.Quantile(q), 0.06)
	})
}

func TestHistogramBounds(t *testing.T) {
	for _, c := range []struct{ recorded, want time.Duration }{
		{-time.Hour, time.Microsecond},
		{0, time.Microsecond},
		{time.Microsecond, time.Microsecond},
		{time.Hour, time.Hour},
		{math.MaxInt64, time.Hour},
	} {
		var h Histogram
		require.Zero(t, h.Quantile(0.5))
		h.Record(c.recorded)
		require.InEpsilon(t, c.want, h.Quantile(0.5), 0.06)
		h.Reset()
		require.Equal(t, Histogram{}, h)
	}
}

func TestQuantileIsTheNearestRank(t *testing.T) {
	var h Histogram
	for range 18 {
		h.Record(time.Millisecond)
	}
	h.Record(time.Second)
	h.Record(time.Minute)
	require.InEpsilon(t, time.Millisecond, h.Quantile(0.9), 0.06)
	require.InEpsilon(t, time.Second, h.Quantile(0.95), 0.06)
	require.InEpsilon(t, time.Minute, h.Quantile(0.99), 0.06)
}

func TestAdd(t *testing.T) {
	var a, b Histogram
	a.Record(time.Millisecond)
	b.Record(time.Second)
	b.Record(time.Minute)
	a.Add(&b)
	require.Equal(t, 3, a.Len())
	require.Equal(t, 2, b.Len())
	require.InEpsilon(t, time.Millisecond, a.Quantile(0.3), 0.06)
	require.InEpsilon(t, time.Second, a.Quantile(0.6), 0.06)
	require.InEpsilon(t, time.Minute, a.Quantile(1), 0.06)
}
