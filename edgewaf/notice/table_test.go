package notice

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTable(t *testing.T) {
	now := time.Unix(1_900_000_000, 0)
	table := new(Table)
	require.True(t, table.Allow(7, time.Minute, now))
	require.False(t, table.Allow(7, time.Minute, now.Add(59*time.Second)))
	require.True(t, table.Allow(8, time.Minute, now), "another key")
	require.True(t, table.Allow(0, time.Minute, now), "zero is a key too")
	require.False(t, table.Allow(0, time.Minute, now))
	require.True(t, table.Allow(7, time.Minute, now.Add(time.Minute)))
	require.False(t, table.Allow(7, time.Minute, now.Add(119*time.Second)))
}

func TestTableBoundsAllKeys(t *testing.T) {
	now := time.Unix(1_900_000_000, 0)
	table := new(Table)
	count := func() (n int) {
		for key := range uint64(10_000) {
			if table.Allow(key<<20|uint64(now.Unix()), time.Minute, now) {
				n++
			}
		}
		return n
	}
	require.Equal(t, burst, count())
	require.Equal(t, 0, count())
	now = now.Add(time.Second)
	require.Equal(t, burst, count())
}

// TestTableForgetsTheOldest fills a row.
func TestTableForgetsTheOldest(t *testing.T) {
	now := time.Unix(1_900_000_000, 0)
	table := new(Table)
	for i := range uint64(ways + 1) {
		require.True(t, table.Allow(i*rows, time.Hour, now.Add(time.Duration(i)*time.Second)))
	}
	later := now.Add(time.Minute)
	for i := range uint64(ways) {
		require.False(t, table.Allow((i+1)*rows, time.Hour, later))
	}
	require.True(t, table.Allow(0, time.Hour, later))
}
