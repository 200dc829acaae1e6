package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSample(t *testing.T) {
	for _, test := range []struct {
		in               sample
		median, min, max float64
	}{
		{nil, 0, 0, 0},
		{sample{3}, 3, 3, 3},
		{sample{3, 1, 2}, 2, 1, 3},
		{sample{4, 1, 3, 2}, 2.5, 1, 4},
	} {
		require.InDelta(t, test.median, test.in.median(), 1e-12)
		require.InDelta(t, test.min, test.in.min(), 1e-12)
		require.InDelta(t, test.max, test.in.max(), 1e-12)
	}
	in := sample{3, 1, 2}
	in.median()
	require.Equal(t, sample{3, 1, 2}, in, "a sample keeps its order")
}

func TestRatios(t *testing.T) {
	require.Equal(t, sample{2, 4}, sample{2, 5, 8, 1}.over(sample{1, 0, 2}))
	require.Equal(t, "2.00x (1.00-4.00)", sample{2, 4, 1}.ratio())
	require.Equal(t, "2.0 ms (1.0-4.5)", sample{.002, .0045, .001}.millis())
}

func TestNotch(t *testing.T) {
	require.Zero(t, sample{}.notch())
	var hundred sample
	for i := range 100 {
		hundred = append(hundred, 1+float64(i)/1000)
	}
	require.InDelta(t, 1.57*0.050/10, hundred.notch(), 1e-9)
	require.Equal(t, "1.050x (+-0.008)", hundred.precise())
}

func TestUnits(t *testing.T) {
	require.Equal(t, "4.2 ms", seconds(4200*time.Microsecond))
	require.Equal(t, "1.50 s", seconds(1500*time.Millisecond))
	require.Equal(t, "1.5 MiB", mebibytes(3<<19))
}

func TestQuantile(t *testing.T) {
	var hundred sample
	for i := range 100 {
		hundred = append(hundred, float64(100-i))
	}
	require.InDelta(t, 95, hundred.quantile(0.95), 0)
	require.InDelta(t, 100, hundred.quantile(1), 0)
	require.InDelta(t, 1, hundred.quantile(0), 0)
	require.InDelta(t, 7, sample{7}.quantile(0.95), 0)
	require.Zero(t, sample{}.quantile(0.5))
}
