package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestOutageIsJudged: each key may have one burst more than is legal when the
// server is lost, and another one when it comes back.
func TestOutageIsJudged(t *testing.T) {
	away := outage{from: 2 * time.Second, to: 6 * time.Second, end: 10 * time.Second}
	// One client asks each millisecond and is allowed what comes first.
	lines := func(until6, until10 int) []string {
		var (
			arrivals []arrival
			outcomes []outcome
		)
		for at := time.Duration(0); at < away.end; at += time.Millisecond {
			status := http.StatusTooManyRequests
			left := &until6
			if at >= away.to {
				left = &until10
			}
			if *left > 0 {
				*left--
				status = http.StatusOK
			}
			arrivals = append(arrivals, arrival{at: at})
			outcomes = append(outcomes, outcome{status: status, latency: time.Millisecond})
		}
		return tableLines(func(tab *table) { tab.addOutage(arrivals, outcomes, away) })
	}
	legal := func(d time.Duration) int { return int(clusterQuota.legal(d)) }
	burst := int(clusterQuota.burst)
	first := legal(away.to) + burst
	second := legal(away.end) + 2*burst - first
	good := lines(first, second)
	require.Len(t, good, 2)
	for _, line := range good {
		require.Contains(t, line, " ok ")
	}
	require.Contains(t, lines(first+1, second-1)[0], " MISS ")
	require.Contains(t, lines(first, second+1)[1], " MISS ")
}

func TestOvershootIsJudged(t *testing.T) {
	line := func(e excess, failed int) string {
		return tableLines(func(tab *table) { tab.addOvershoot("hot", e, failed, time.Minute) })[0]
	}
	require.Contains(t, line(excess{all: 1, worst: 1.1}, 0), " ok ")
	require.Contains(t, line(excess{all: 1, worst: 1.11}, 0), " MISS ")
	require.Contains(t, line(excess{all: 1, worst: 1}, 1), " MISS ")
	require.Contains(t, line(excess{}, 0), " MISS ")
}
