package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFlowing(t *testing.T) {
	h, c := heldCaller(t)
	stop := c.flowing(t.Context(), 4, "/", h.ledger, http.MethodGet, http.MethodDelete)
	require.Eventually(t, func() bool {
		h.ledger.mu.Lock()
		defer h.ledger.mu.Unlock()
		return len(h.ledger.runs) >= 100 // 4 take turns: some of each method are done
	}, time.Minute, time.Millisecond)
	got := stop()
	require.Positive(t, got.done[http.MethodGet])
	require.Positive(t, got.done[http.MethodDelete])
	require.Zero(t, got.failed, got)
	require.Zero(t, got.twice)
}

func TestTrafficNotesFailures(t *testing.T) {
	books := &ledger{runs: map[string]int{"p1": 2, "g1": 2, "p2": 1}}
	sums := newTraffic()
	for range 2 {
		got := newTraffic()
		got.add(&answer{method: http.MethodPost, id: "p1", status: http.StatusOK}, books)
		got.add(&answer{method: http.MethodPost, id: "p2", status: http.StatusBadGateway, took: time.Second}, books)
		got.add(&answer{method: http.MethodGet, id: "g1", status: http.StatusOK, err: http.ErrHandlerTimeout, cut: true}, books)
		sums.merge(got)
	}
	require.Equal(t, 4, sums.failed)
	require.Equal(t, 2, sums.cut)
	require.Equal(t, 2, sums.twice, "a GET may be executed twice")
	require.Equal(t, time.Second, sums.slowest)
	require.Equal(t, "2 GET, 4 POST, 2 times GET cut off after its header, 2 times POST: 502", sums.String())
}
