package main

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestOverloadArrivals: each step has its load, and the honest clients want the
// same in all of them.
func TestOverloadArrivals(t *testing.T) {
	o := overload{steps: overloadSteps, lasts: 20 * time.Second}
	arrivals := o.arrivals(rand.New(rand.NewPCG(1, 2)))
	var all, honest [4]float64
	var last time.Duration
	clients := make(map[int]bool)
	for _, a := range arrivals {
		require.GreaterOrEqual(t, a.at, last)
		last = a.at
		clients[a.client] = true
		step := a.at / o.lasts
		all[step]++
		if a.client >= overloadAbusers {
			honest[step]++
		}
		require.Equal(t, forwardedFor(clientAddr(a.client)), a.fields)
	}
	require.Len(t, clients, overloadClients)
	for i, s := range o.steps {
		require.InEpsilon(t, s.load*overloadCapacity*o.lasts.Seconds(), all[i], 0.05, s.name)
		require.InEpsilon(t, overloadHonest*overloadCapacity*o.lasts.Seconds(), honest[i], 0.05, s.name)
	}
	require.InDelta(t, all[0], honest[0], 0, "nobody abuses before the overload")
}

func TestStepsAreJudged(t *testing.T) {
	o := overload{steps: overloadSteps, lasts: 20 * time.Second, settle: 10 * time.Second}
	lines := func(i int, got tally) []string {
		got.lasts = 10 * time.Second
		return tableLines(func(tab *table) { tab.addStep(&o, i, got) })
	}
	for i, got := range []tally{
		{sent: 100, served: 100, honest: 100, honestOK: 100, latencies: sample{0.18}},
		{sent: 16000, served: 7600, refused: 8400, honest: 100, honestOK: 90, latencies: sample{0.18}},
		{sent: 16000, served: 3800, refused: 12200, latencies: sample{0.18}},
	} {
		good := lines(i, got)
		require.Len(t, good, 3)
		for _, line := range good {
			require.NotContains(t, line, " MISS ")
		}
	}
	require.Contains(t, lines(0, tally{sent: 100, served: 99, refused: 1})[0], " MISS ")
	for _, line := range lines(1, tally{sent: 16000, served: 7599, honest: 100, honestOK: 89, latencies: sample{0.181}}) {
		require.Contains(t, line, " MISS ")
	}
	require.Contains(t, lines(2, tally{sent: 16000, served: 3799})[0], " MISS ")
}
