package edgecache

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHeapGrowthFollowsTheStore(t *testing.T) {
	percent := func() int {
		p := debug.SetGCPercent(usualGrowth)
		debug.SetGCPercent(p)
		return p
	}
	t.Setenv("GOGC", "")
	before := percent()
	t.Cleanup(func() { debug.SetGCPercent(before) })
	var g heapGrowth
	for _, step := range []struct {
		stored int64
		want   int
	}{{largeStore - 1, before}, {largeStore, storeGrowth}, {largeStore / 2, storeGrowth}, {largeStore/2 - 1, usualGrowth}, {largeStore, storeGrowth}, {0, usualGrowth}} {
		g.follow(step.stored)
		require.Equal(t, step.want, percent(), "%d bytes", step.stored)
	}
	t.Setenv("GOGC", "200")
	g.follow(largeStore)
	require.Equal(t, usualGrowth, percent(), "the operator's choice")
}
