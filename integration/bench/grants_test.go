package main

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestGrants(t *testing.T) {
	arrivals := []arrival{{at: time.Second, client: 1}, {at: 2 * time.Second, client: 2}, {at: 3 * time.Second, client: 1}, {at: 4 * time.Second, client: 1}}
	outcomes := []outcome{
		{status: http.StatusOK, latency: 5 * time.Second}, {status: http.StatusInternalServerError},
		{status: http.StatusTooManyRequests}, {status: http.StatusOK, latency: time.Millisecond},
	}
	got, failed := grantsOf(arrivals, outcomes)
	require.Equal(t, 1, failed)
	require.Equal(t, map[int]*grant{
		1: {asked: 3, allowed: 2, first: time.Second, last: 6 * time.Second},
		2: {asked: 1, first: 2 * time.Second, last: 2 * time.Second},
	}, got)
}

func TestExcess(t *testing.T) {
	q := quota{rate: 10, burst: 20}
	grants := map[int]*grant{
		0: {asked: 240, allowed: 120, first: time.Second, last: 11 * time.Second}, // legal: 120
		1: {asked: 120, allowed: 150, last: 10 * time.Second},
		2: {asked: 50, allowed: 50},
	}
	e := excessOf(grants, q, 0, func(n int) bool { return n < 2 })
	require.InDelta(t, 270./240, e.all, 1e-9)
	require.InDelta(t, 1.25, e.worst, 1e-9)
	require.InDelta(t, 1.5, e.asked, 1e-9)
	require.InDelta(t, 150./140, excessOf(grants, q, 20, func(n int) bool { return n == 1 }).worst, 1e-9)
	require.Zero(t, excessOf(grants, q, 0, func(int) bool { return false }))
}

// TestClusterArrivals: each class asks for twice what is legal.
func TestClusterArrivals(t *testing.T) {
	const length = 30 * time.Second
	hot := hotArrivals(rand.New(rand.NewPCG(1, 1)), 100, length)
	require.InEpsilon(t, clusterLoad*hotKeys*clusterQuota.rate*length.Seconds(), len(hot), 0.05)
	cold := coldArrivals(500, 50, length)
	for name, c := range map[string]struct {
		arrivals []arrival
		first, n int
		sorted   bool
	}{"hot": {hot, 100, hotKeys, true}, "cold": {cold, 500, 50, false}} {
		clients, nodes := make(map[int][]time.Duration), make(map[int]int)
		for i, a := range c.arrivals {
			clients[a.client] = append(clients[a.client], a.at)
			nodes[a.to]++
			require.Less(t, a.at, length)
			if c.sorted && i > 0 {
				require.GreaterOrEqual(t, a.at, c.arrivals[i-1].at)
			}
		}
		require.Len(t, clients, c.n, name)
		require.Len(t, nodes, clusterNodes, name)
		for client := range clients {
			require.GreaterOrEqual(t, client, c.first)
			require.Less(t, client, c.first+c.n)
		}
	}
	require.Len(t, cold, 50*int(clusterLoad*clusterQuota.legal(coldVolley)))
}

func TestPassedBetween(t *testing.T) {
	arrivals := []arrival{{at: 1}, {at: 2}, {at: 3}, {at: 4}}
	outcomes := []outcome{{status: http.StatusOK}, {status: http.StatusOK}, {status: http.StatusTooManyRequests}, {status: http.StatusOK}}
	require.InDelta(t, 1, passedBetween(arrivals, outcomes, 2, 4), 0)
}
