package adaptive

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestConfigIsValidated(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{}, ""},
		{Config{Max: 50}, ""},
		{Config{Min: 500}, ""},
		{Config{BaselineFactor: 2}, ""},
		{Config{Target: time.Microsecond}, "p95 must be from 1ms to 1m, not 1µs"},
		{Config{Target: time.Hour}, "p95 must be from 1ms to 1m, not 1h0m0s"},
		{Config{BaselineFactor: 1}, "baseline must be from 2 to 1000, not 1"},
		{Config{BaselineFactor: math.NaN()}, "baseline must be from 2 to 1000, not NaN"},
		{Config{Min: -1}, "min must be at least 1, not -1"},
		{Config{Min: 7, Max: 7}, "min must be below max, but 7 is not below 7"},
		{Config{Max: 3}, "min must be below max, but 4 is not below 3"},
		{Config{Max: 2000000}, "max must be at most 1000000, not 2000000"},
		{Config{Min: 10, Initial: 9}, "initial must be from min 10 to max 10000, not 9"},
		{Config{Uploads: -1}, "uploads must be at least 1, not -1"},
		{Config{Streams: -1}, "streams must be at least 1, not -1"},
		{Config{QueueSize: -1}, "queue must not be negative"},
		{Config{QueueDeadline: time.Microsecond}, "queue_deadline must be from 1ms to 1m, not 1µs"},
	} {
		_, err := New(c.config, time.Now())
		if c.want == "" {
			require.NoError(t, err)
		} else {
			require.EqualError(t, err, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	for c := range classes {
		parsed, ok := ParseClass(c.String())
		require.True(t, ok)
		require.Equal(t, c, parsed)
	}
	_, ok := ParseClass("")
	require.False(t, ok)
	require.Equal(t, "unknown", Class(99).String())
	require.Equal(t, "over_share", OverShare.String())
	require.Equal(t, "client_left", ClientLeft.String())
	require.Equal(t, "unknown", Reason(99).String())
	require.Equal(t, "recovering", StateRecovering.String())
	require.Equal(t, "unknown", State(99).String())
}
