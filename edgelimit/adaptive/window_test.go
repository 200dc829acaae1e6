package adaptive

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPressure(t *testing.T) {
	for _, c := range []struct {
		name                         string
		samples, timeouts, impatient int
		p50, p95                     time.Duration
		want                         float64
	}{
		{"the P95", 100, 0, 0, 300 * ms, 600 * ms, 1.2},
		{"at most four times the median", 100, 0, 0, 50 * ms, 5 * time.Second, 0.4},
		{"few timeouts are of that kind", 100, 5, 0, 50 * ms, 5 * time.Second, 0.4},
		{"many are not", 100, 6, 0, 50 * ms, 5 * time.Second, 10},
		{"some leave", 20, 0, 20, 50 * ms, 50 * ms, 0.1},
		{"most leave", 20, 0, 21, 50 * ms, 50 * ms, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := window{timeouts: c.timeouts, impatient: c.impatient}
			for range c.samples {
				w.latency.Record(ms)
			}
			require.InDelta(t, c.want, w.pressure(Percentiles{P50: c.p50, P95: c.p95}, 500*ms), 1e-9)
		})
	}
}

func TestMoved(t *testing.T) {
	for _, c := range []struct {
		limit, pressure float64
		used            bool
		want            float64
	}{
		{100, 10, true, 50},
		{100, 1.25, true, 80},
		{100, 1.25, false, 80},
		{100, 1.001, true, 95},
		{100, 1, true, 101},
		{100, 0.5, false, 100},
		{100, 0.5, true, 112.5},
		{4, 0.5, true, 5},
		{9, 0, true, 12},
	} {
		require.InDelta(t, c.want, moved(c.limit, c.pressure, c.used), 1e-9)
	}
}

func TestBaseline(t *testing.T) {
	var b baseline
	b.rotateAt = baselinePeriod
	require.Zero(t, b.value())
	add := func(median time.Duration, quiet bool, period int64) time.Duration {
		b.add(median, quiet, period*baselinePeriod)
		return b.value()
	}
	require.Equal(t, 80*ms, add(80*ms, false, 0), "better than none")
	require.Equal(t, 20*ms, add(20*ms, true, 0))
	require.Equal(t, 20*ms, add(30*ms, true, 0))
	require.Equal(t, 10*ms, add(10*ms, false, 0), "lower always counts")
	for period := range int64(10) {
		require.Equal(t, 10*ms, add(time.Second, false, 1+period), "an overload teaches nothing")
	}
	require.Equal(t, 10*ms, add(40*ms, true, 11))
	require.Equal(t, 40*ms, add(50*ms, true, 12), "a slower origin is believed after one more period")
	require.Equal(t, 50*ms, add(60*ms, true, 13))
}

func TestTargetFromTheBaseline(t *testing.T) {
	b := newBench(t, Config{Target: 500 * ms, BaselineFactor: 10})
	require.Equal(t, 500*ms, b.status().Target)
	b.window(20, 200*ms)
	require.InEpsilon(t, 2*time.Second, b.status().Target, 0.06)
	for range 25 {
		b.window(1, 10*ms)
	}
	require.InEpsilon(t, 100*ms, b.status().Target, 0.06)
	require.InEpsilon(t, 10*ms, b.status().Baseline, 0.06)
	require.NoError(t, b.Reconfigure(b.now, Config{BaselineFactor: 20}))
	require.InEpsilon(t, 200*ms, b.status().Target, 0.06)
	for range 500 {
		b.window(1, 10*time.Microsecond)
		b.pass(ms)
	}
	require.Equal(t, 10*ms, b.status().Target)
}
