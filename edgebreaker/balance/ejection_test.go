package balance

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestEjection(t *testing.T) {
	for _, c := range []struct {
		n    int
		most float64
		want int
	}{
		{0, 0.5, 0},
		{1, 0.5, 1}, // the only one of its pool
		{1, 0, 1},
		{2, 0.5, 1},
		{3, 0.5, 1},
		{4, 0.5, 2},
		{4, 0.1, 1}, // at least one
		{10, 0.3, 3},
		{100, 0.29, 29}, // 28.999999999999996
		{3, 1, 3},
		{3, 7, 3},
		{3, -1, 1},
	} {
		require.Equal(t, c.want, Ejection(c.n, c.most), "%v of %d", c.most, c.n)
	}
}

func TestRestore(t *testing.T) {
	out := []Ejected{{Index: 4, Since: 30}, {Index: 1, Since: 10}, {Index: 7, Since: 20}, {Index: 0, Since: 10}}
	require.Empty(t, Restore(slices.Clone(out), 4))
	require.Empty(t, Restore(nil, 0))
	require.Equal(t, []Ejected{{0, 10}, {1, 10}}, Restore(slices.Clone(out), 2))
	require.Equal(t, []Ejected{{0, 10}, {1, 10}, {7, 20}, {4, 30}}, Restore(slices.Clone(out), -1))
}

// TestRestoreIsTheOldest compares with a sort. What it returns is the same whatever
// the order was, so that requests agree on whom they use.
func TestRestoreIsTheOldest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		since := rapid.SliceOfN(rapid.Int64Range(0, 5), 0, 70).Draw(t, "since")
		var out []Ejected
		for i, s := range since {
			out = append(out, Ejected{i, s})
		}
		sorted := slices.SortedStableFunc(slices.Values(out), func(a, b Ejected) int { return int(a.Since - b.Since) })
		allowed := rapid.IntRange(0, 80).Draw(t, "allowed")
		mixed := out
		if len(out) > 0 {
			mixed = rapid.Permutation(out).Draw(t, "order")
		}
		restored := Restore(mixed, allowed)
		require.Len(t, restored, max(len(out)-allowed, 0))
		for i, e := range restored {
			require.Equal(t, sorted[i], e)
		}
	})
}
