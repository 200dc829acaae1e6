package requestid

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNew(t *testing.T) {
	now := time.UnixMilli(0x0123456789ab)
	seen := make(map[string]bool)
	for range 1000 {
		v4, v7 := New(V4, now), New(V7, now)
		require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, v4)
		require.Regexp(t, `^01234567-89ab-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, v7)
		require.False(t, seen[v4] || seen[v7])
		seen[v4], seen[v7] = true, true
		require.True(t, Valid(v4))
	}
	require.Less(t, New(V7, now), New(V7, now.Add(time.Millisecond)))
}

func TestValid(t *testing.T) {
	for _, id := range []string{"a", "req-1:2/3_4.5+6=7~8", strings.Repeat("x", MaxLength)} {
		require.True(t, Valid(id), id)
	}
	for _, id := range []string{"", strings.Repeat("x", MaxLength+1), "a b", "a\nb", `a"b`, "a<b", "ä", "a{b}", "a\x00b", "a,b"} {
		require.False(t, Valid(id), id)
	}
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		New(V4, time.Time{})
	}
}
