package memory

import (
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLedger(t *testing.T) {
	l := NewLedger(100)
	require.True(t, l.Reserve(60))
	require.False(t, l.Reserve(41))
	require.True(t, l.Reserve(40))
	require.True(t, l.Reserve(0))
	require.True(t, l.Reserve(-5))
	require.Equal(t, int64(100), l.Used())
	l.Release(70)
	require.Equal(t, int64(30), l.Used())
	require.Equal(t, int64(100), l.Peak())
	require.False(t, l.Reserve(math.MaxInt64))

	l.SetBudget(20)
	require.Equal(t, int64(20), l.Budget())
	require.False(t, l.Reserve(1), "more than the new budget is reserved already")
	l.Release(11)
	require.True(t, l.Reserve(1))
}

func TestLedgerIsNeverExceeded(t *testing.T) {
	l := NewLedger(1000)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 20_000 {
				n := int64(i%300 + 1)
				if l.Reserve(n) {
					if used := l.Used(); used > 1000 {
						t.Errorf("%d bytes used", used)
					}
					l.Release(n)
				}
			}
		})
	}
	wg.Wait()
	require.Zero(t, l.Used())
	require.LessOrEqual(t, l.Peak(), int64(1000))
	require.Positive(t, l.Peak())
}
