package edgecache

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMarksExpire(t *testing.T) {
	start := time.Now()
	m := newMarks(start)
	key := []byte("key")
	require.False(t, m.has(key, start))
	m.set(key, start.Add(10*time.Second))
	require.True(t, m.has(key, start))
	require.True(t, m.has(key, start.Add(9900*time.Millisecond)))
	require.False(t, m.has(key, start.Add(10*time.Second)))
	require.False(t, m.has([]byte("another"), start))
	m.set(key, start.Add(20*time.Second))
	m.clear([]byte("another"))
	require.True(t, m.has(key, start.Add(15*time.Second)))
	m.clear(key)
	require.False(t, m.has(key, start.Add(15*time.Second)))
}

func TestMarksTakenOver(t *testing.T) {
	start := time.Now()
	m := newMarks(start)
	key := []byte("key")
	m.set(key, start.Add(time.Hour))
	slot, _ := m.slot(key)
	for i := 0; ; i++ {
		other := fmt.Appendf(nil, "other %d", i)
		if s, _ := m.slot(other); s == slot {
			require.True(t, m.take(other, start, time.Hour))
			require.True(t, m.has(other, start))
			break
		}
	}
	require.False(t, m.has(key, start), "a later key takes the slot over")
}

// TestMarksTake: of all who take a key in the same second one wins, and again in
// the next.
func TestMarksTake(t *testing.T) {
	start := time.Now()
	m := newMarks(start)
	for round := range 50 {
		now := start.Add(time.Duration(round) * time.Second)
		var winners atomic.Int32
		var done sync.WaitGroup
		for range 16 {
			done.Go(func() {
				if m.take([]byte("key"), now, time.Second) {
					winners.Add(1)
				}
			})
		}
		done.Wait()
		require.Equal(t, int32(1), winners.Load(), "round %d", round)
		require.False(t, m.take([]byte("key"), now.Add(900*time.Millisecond), time.Second))
	}
}
