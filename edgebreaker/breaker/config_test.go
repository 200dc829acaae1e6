package breaker

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestValidate(t *testing.T) {
	valid := func() *Config {
		c := ratioRules()
		c.Failures = 5
		c.Ramp = Ramp{Shares: []float64{0.5}, Each: time.Second}
		return c
	}
	require.NoError(t, valid().Validate())
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Failures = -1 }, "failures must be from 1 to 1000000, or off, not -1"},
		{func(c *Config) { c.FailureRatio = 1.1 }, "failure_ratio must be above 0 and at most 1, not 1.1"},
		{func(c *Config) { c.FailureRatio = math.NaN() }, "failure_ratio must be above 0 and at most 1, not NaN"},
		{func(c *Config) { c.FailureMinRequests = 0 }, "failure_ratio needs a volume of 1 to 1000000 requests, not 0"},
		{func(c *Config) { c.SlowRatio = -0.1 }, "slow_ratio must be above 0 and at most 1, not -0.1"},
		{func(c *Config) { c.SlowMinRequests = -5 }, "slow_ratio needs a volume of 1 to 1000000 requests, not -5"},
		{func(c *Config) { c.Slow = 0 }, "slow_ratio needs a latency above 0, not 0s"},
		{func(c *Config) { c.Window = time.Millisecond }, "window must be from 1s to 10m0s, not 1ms"},
		{func(c *Config) { c.Window = time.Hour }, "window must be from 1s to 10m0s, not 1h0m0s"},
		{func(c *Config) { c.Successes = 0 }, "successes must be from 1 to 1000000, not 0"},
		{func(c *Config) { c.Probes = 0 }, "probes must be from 1 to 10000, not 0"},
		{func(c *Config) { c.OpenFor = 0 }, "open must be from 1ms to 24h0m0s, not 0s"},
		{func(c *Config) { c.MaxOpenFor = time.Millisecond }, "the maximum of open must be from 1s to 24h0m0s, not 1ms"},
		{func(c *Config) { c.Ramp.Shares[0] = 0 }, "slow_start must have steps above 0% up to 100%, not 0%"},
		{func(c *Config) { c.Ramp.Shares[0] = 1.5 }, "slow_start must have steps above 0% up to 100%, not 150%"},
		{func(c *Config) { c.Ramp.Each = 0 }, "slow_start must last up to 24h0m0s, not 1 steps each 0s"},
		{func(c *Config) { c.Ramp.Linear = time.Second }, "slow_start has both steps and a duration"},
		{func(c *Config) { c.Ramp = Ramp{Each: time.Second} }, "slow_start has a time for each step, but no steps"},
		{func(c *Config) { c.Ramp = Ramp{Linear: -1} }, "slow_start must last up to 24h0m0s, not -1ns"},
		{func(c *Config) { c.Ramp.Shares = make([]float64, 101) }, "slow_start must have at most 100 steps, not 101"},
	} {
		config := valid()
		c.change(config)
		require.EqualError(t, config.Validate(), c.want)
	}
	off := rules()
	off.Failures, off.Window = 0, 0
	require.NoError(t, off.Validate(), "a window is only needed with a ratio")
}
