package adaptive

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRejectedBoundsCutNothing: a configuration that is rejected after it was
// applied leaves what was learned.
func TestRejectedBoundsCutNothing(t *testing.T) {
	now := time.Unix(1e9, 0)
	wide, narrow := Config{Initial: 800}, Config{Max: 50}
	l, err := New(wide, now)
	require.NoError(t, err)
	for _, step := range []struct {
		config Config
		want   int
	}{{narrow, 50}, {wide, 800}, {narrow, 50}, {Config{Max: 300}, 300}, {wide, 800}, {Config{Min: 900}, 900}, {wide, 800}} {
		require.NoError(t, l.Reconfigure(now, step.config))
		require.Equal(t, step.want, l.Status(now).Limit)
	}
	var u uncut
	require.InDelta(t, 50, u.bound(800, 4, 50), 0)
	require.InDelta(t, 45, u.bound(45, 4, 1000), 0, "learned since")
}
