package adaptive

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRateLoop(t *testing.T) {
	type step struct {
		latency time.Duration // of the interval, 0 for no sample
		rate    float64
		state   RateState
	}
	for _, c := range []struct {
		name   string
		config RateConfig
		steps  []step
	}{
		{"no two reductions in a row", RateConfig{}, []step{
			{time.Second, 400, RateReducing}, {time.Second, 400, RateNormal}, {time.Second, 320, RateReducing},
		}},
		{"recovers below 0.7 of the threshold", RateConfig{Initial: 100}, []step{
			{300 * ms, 110, RateRecovering}, {300 * ms, 121, RateRecovering}, {400 * ms, 121, RateNormal},
		}},
		{"recovers right after a reduction", RateConfig{}, []step{
			{time.Second, 400, RateReducing}, {100 * ms, 440, RateRecovering}, {time.Second, 352, RateReducing},
		}},
		{"no samples, no change", RateConfig{Initial: 100}, []step{{0, 100, RateNormal}, {0, 100, RateNormal}}},
		{"stays within its bounds", RateConfig{Min: 90, Max: 105, Initial: 100}, []step{
			{ms, 105, RateRecovering}, {ms, 105, RateNormal}, {time.Second, 90, RateReducing},
			{time.Second, 90, RateNormal}, {time.Second, 90, RateNormal},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := time.Unix(1e9, 0)
			loop, err := NewRateLoop(c.config, now)
			require.NoError(t, err)
			for _, s := range c.steps {
				now = now.Add(5 * time.Second)
				if s.latency > 0 {
					loop.Observe(now, s.latency)
				}
				now = now.Add(5 * time.Second)
				status := loop.Status(now)
				require.InDelta(t, s.rate, status.Rate, 1e-9)
				require.Equal(t, s.state.String(), status.State.String())
			}
		})
	}
}

func TestRateLoopMovesByTheP95(t *testing.T) {
	now := time.Unix(1e9, 0)
	for slow, want := range map[int]float64{5: 110, 6: 80} {
		loop, err := NewRateLoop(RateConfig{Initial: 100}, now)
		require.NoError(t, err)
		for i := range 100 {
			if i < slow {
				loop.Observe(now, time.Second)
			} else {
				loop.Observe(now, ms)
			}
		}
		require.InDelta(t, want, loop.Status(now.Add(10*time.Second)).Rate, 1e-9)
	}
}

func TestRateLoopAdmitsAtItsRate(t *testing.T) {
	now := time.Unix(1e9, 0)
	loop, err := NewRateLoop(RateConfig{Min: 5, Initial: 20}, now)
	require.NoError(t, err)
	admitted := 0
	for range 1000 {
		if _, ok := loop.Allow(now); ok {
			admitted++
		}
		now = now.Add(10 * ms)
	}
	require.InDelta(t, 20+200, admitted, 1)
	for ok := true; ok; {
		_, ok = loop.Allow(now)
	}
	wait, ok := loop.Allow(now)
	require.False(t, ok)
	_, ok = loop.Allow(now.Add(wait - 2))
	require.False(t, ok)
	_, ok = loop.Allow(now.Add(wait))
	require.True(t, ok)
}

func TestRateLoopAfterSilence(t *testing.T) {
	now := time.Unix(1e9, 0)
	loop, err := NewRateLoop(RateConfig{}, now)
	require.NoError(t, err)
	loop.Observe(now, time.Second)
	status := loop.Status(now.Add(time.Hour))
	require.InDelta(t, 400, status.Rate, 1e-9)
	require.Equal(t, RateNormal, status.State)
	loop.Observe(now.Add(time.Hour), time.Second)
	require.InDelta(t, 320, loop.Status(now.Add(time.Hour+10*time.Second)).Rate, 1e-9)
}

func TestRateLoopTellsChanges(t *testing.T) {
	now := time.Unix(1e9, 0)
	var changes []RateChange
	var loop *RateLoop
	loop, err := NewRateLoop(RateConfig{Initial: 100, OnChange: func(c RateChange) {
		require.Equal(t, c.To, loop.Status(now).State, "no lock is held")
		c.P95, c.Rate = c.P95.Round(time.Second), math.Round(c.Rate)
		changes = append(changes, c)
	}}, now)
	require.NoError(t, err)
	for _, latency := range []time.Duration{time.Second, time.Second, 0, 10 * ms, 10 * ms} {
		if latency > 0 {
			loop.Observe(now, latency)
		}
		now = now.Add(10 * time.Second)
		loop.Status(now)
	}
	require.Equal(t, []RateChange{
		{From: RateNormal, To: RateReducing, Rate: 80, P95: time.Second},
		{From: RateReducing, To: RateNormal, Rate: 80, P95: time.Second},
		{From: RateNormal, To: RateRecovering, Rate: 88},
	}, changes)
}

func TestRateLoopReconfigures(t *testing.T) {
	now := time.Unix(1e9, 0)
	loop, err := NewRateLoop(RateConfig{}, now)
	require.NoError(t, err)
	require.NoError(t, loop.Reconfigure(now, RateConfig{Max: 300}))
	require.InDelta(t, 300, loop.Status(now).Rate, 1e-9)
	require.NoError(t, loop.Reconfigure(now, RateConfig{Initial: 50, Threshold: 200 * ms}))
	require.Equal(t, 200*ms, loop.Status(now).Threshold)
	require.InDelta(t, 500, loop.Status(now).Rate, 1e-9, "what was cut comes back as long as nothing else was learned")
	require.Error(t, loop.Reconfigure(now, RateConfig{Min: 1000}))
}

func TestRateConfigIsValidated(t *testing.T) {
	for _, c := range []struct {
		config RateConfig
		want   string
	}{
		{RateConfig{}, ""},
		{RateConfig{Min: 500}, "min must be below max, but 500 is not below 500"},
		{RateConfig{Max: 5}, "min must be below max, but 10 is not below 5"},
		{RateConfig{Min: -1}, "min must be at least 0.1 per second, not -1"},
		{RateConfig{Max: 1e10}, "max must be at most 1e9 per second, not 1e+10"},
		{RateConfig{Initial: 1}, "initial must be from min 10 to max 500, not 1"},
		{RateConfig{Interval: 1}, "interval must be from 100ms to 1h, not 1ns"},
		{RateConfig{Threshold: 1}, "p95 must be from 1ms to 1m, not 1ns"},
		{RateConfig{Reduction: 1}, "reduction must be above 0 and below 1, not 1"},
		{RateConfig{Recovery: 0.9}, "recovery must be above 1 and at most 10, not 0.9"},
		{RateConfig{RecoverBelow: 1.1}, "recover_below must be above 0 and at most 1, not 1.1"},
	} {
		_, err := NewRateLoop(c.config, time.Now())
		if c.want == "" {
			require.NoError(t, err)
		} else {
			require.EqualError(t, err, c.want)
		}
	}
}
