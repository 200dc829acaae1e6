package edgebreaker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestDownSince: the time since when an upstream is down is told once, and is one that a
// clock which is set does not change.
func TestDownSince(t *testing.T) {
	m, now := newMember("a:1", 1), time.Now()
	m.sawDown(now)
	m.sawDown(now.Add(time.Second))
	since, ok := m.sawUp()
	require.True(t, ok)
	require.True(t, since.Equal(now))
	require.NotEqual(t, since.Round(0), since, "it has the monotonic clock") //nolint:testifylint // as values
	_, ok = m.sawUp()
	require.False(t, ok)
}
