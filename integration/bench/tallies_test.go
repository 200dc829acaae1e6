package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTally(t *testing.T) {
	arrivals := []arrival{
		{at: 0, client: overloadAbusers}, // before the time
		{at: 5 * time.Second, client: overloadAbusers}, {at: 6 * time.Second, client: 0}, {at: 7 * time.Second, client: 199},
		{at: 8 * time.Second, client: 1}, {at: 9 * time.Second, client: 199}, {at: 10 * time.Second, client: 0}, // after it
	}
	outcomes := []outcome{
		{status: http.StatusOK, latency: time.Hour},
		{status: http.StatusOK, latency: 20 * time.Millisecond}, {status: http.StatusServiceUnavailable}, {},
		{status: http.StatusOK, latency: 40 * time.Millisecond}, {status: http.StatusBadGateway}, {status: http.StatusOK},
	}
	got := tallyOf(arrivals, outcomes, 5*time.Second, 10*time.Second)
	require.Equal(t, tally{
		lasts: 5 * time.Second, sent: 5, served: 2, refused: 1, failed: 2, honest: 3, honestOK: 1, latencies: sample{0.02, 0.04},
	}, got)
	require.InDelta(t, 0.4, got.goodput(), 1e-9)
	require.InDelta(t, 1./3, got.honestServed(), 1e-9)
	require.Equal(t, 40*time.Millisecond, got.p95())
}
