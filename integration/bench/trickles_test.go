package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAddCrowded(t *testing.T) {
	tunnel := crowded{p99: .010, resident: tricklers * 100 << 10, heap: tricklers * 300 << 10, sent: 10}
	direct := crowded{p99: .008, sent: 10}
	lines := tableLines(func(tab *table) { tab.addCrowded([]crowded{tunnel}, []crowded{direct}, time.Second) })
	require.Len(t, lines, 4)
	require.Regexp(t, `0 of 20 failed .* ok `, lines[0])
	require.Regexp(t, `1\.25x .* ok `, lines[1])
	require.Regexp(t, `100 KiB .* ok `, lines[2])
	require.Regexp(t, `300 KiB .* MISS `, lines[3])
	tunnel.failed = 1
	lines = tableLines(func(tab *table) { tab.addCrowded([]crowded{tunnel}, []crowded{direct}, time.Second) })
	require.Regexp(t, ` MISS `, lines[0])
	require.Regexp(t, ` MISS `, lines[1], "who is refused is served fast")
}
