package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWorkersTakeInOrder(t *testing.T) {
	const service = 20 * time.Millisecond
	w := workers{service: service, free: make([]time.Time, 2)}
	now := time.Unix(1000, 0)
	after := func(d time.Duration) time.Time { return now.Add(d) }
	require.Equal(t, after(service), w.take(now))
	require.Equal(t, after(service), w.take(now))
	require.Equal(t, after(2*service), w.take(now), "both are busy")
	require.Equal(t, after(2*service), w.take(now.Add(time.Millisecond)))
	require.Equal(t, after(3*service), w.take(now))

	later := now.Add(time.Second)
	require.Equal(t, later.Add(service), w.take(later), "they did nothing in advance")
}

// TestWorkersCapacity: whatever is asked for, what is done in a second is the
// capacity.
func TestWorkersCapacity(t *testing.T) {
	w := workers{service: 20 * time.Millisecond, free: make([]time.Time, 16)}
	now := time.Unix(1000, 0)
	done := func(from time.Time) (n int) {
		for range 2000 {
			if !w.take(from).After(from.Add(time.Second)) {
				n++
			}
		}
		return n
	}
	require.Equal(t, 800, done(now))
	idle := now.Add(time.Hour)
	w.resize(8)
	require.Equal(t, 400, done(idle))
	idle = idle.Add(time.Hour)
	w.resize(16)
	require.Equal(t, 800, done(idle))
	require.InDelta(t, 800, w.capacity(16), 1e-9)
}
