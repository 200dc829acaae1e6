package inflight

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEnterAndLeave(t *testing.T) {
	m := New()
	a, b := Key{1, 1}, Key{1, 1 + shards} // in one shard
	require.True(t, m.Enter(a, 2))
	require.True(t, m.Enter(a, 2))
	require.False(t, m.Enter(a, 2))
	require.True(t, m.Enter(b, 1))
	require.Equal(t, 2, m.Count(a))
	m.Leave(a)
	require.False(t, m.Enter(a, 1), "a lowered limit")
	require.True(t, m.Enter(a, 2))
	keys, entered := m.Totals()
	require.Equal(t, []int{2, 3}, []int{keys, entered})
	m.Leave(a)
	m.Leave(a)
	m.Leave(b)
	keys, entered = m.Totals()
	require.Equal(t, []int{0, 0}, []int{keys, entered}, "nothing is kept of who left")
	require.False(t, m.Enter(a, 0))
}

func TestNeverAboveTheLimit(t *testing.T) {
	const limit = 5
	m := New()
	var inside [4]atomic.Int64
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			k := Key{uint64(i % 4), uint64(i % 4)}
			for range 5000 {
				if !m.Enter(k, limit) {
					continue
				}
				if n := inside[i%4].Add(1); n > limit {
					t.Errorf("%d are inside", n)
				}
				inside[i%4].Add(-1)
				m.Leave(k)
			}
		})
	}
	wg.Wait()
	keys, _ := m.Totals()
	require.Zero(t, keys)
}

func BenchmarkEnterLeave(b *testing.B) {
	m := New()
	b.ReportAllocs()
	for b.Loop() {
		m.Enter(Key{1, 2}, 10)
		m.Leave(Key{1, 2})
	}
}
