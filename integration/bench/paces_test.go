package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPaces: a ratio is that of rounds beside each other.
func TestPaces(t *testing.T) {
	var all [3]pace
	all[siteTunnel].add(loadResult{requests: 100, time: time.Second, latencies: sample{.001, .003}}, effort{edge: 8 * time.Millisecond, agent: 6 * time.Millisecond})
	all[siteDirect].add(loadResult{requests: 100, time: time.Second / 2, latencies: sample{.001, .002}}, effort{edge: 10 * time.Millisecond})
	all[siteIdle].add(loadResult{requests: 100, time: time.Second, latencies: sample{.001, .003}}, effort{edge: 10 * time.Millisecond})
	lines := tableLines(func(tab *table) { tab.addPaces(all[:]) })
	require.Len(t, lines, 3)
	require.Regexp(t, `^row +rate +0\.50x .*, 100/s +>= 0\.70x of direct +MISS +direct 200/s; .* against which 1\.00x`, lines[0])
	require.Regexp(t, `^row +CPU of edge and agent +1\.40x .*, 140\.0 us +<= 1\.6x of direct +ok +of the agent 60\.0 us; direct 100\.0 us`, lines[1])
	require.Regexp(t, `^row +P99 +1\.50x .*, 3\.0 ms +<= 1\.5x of direct +ok `, lines[2])
}
