package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// heldCaller is one of a backend that holds requests.
func heldCaller(t *testing.T) (*holder, *caller) {
	t.Helper()
	all, err := startHolders(1)
	require.NoError(t, err)
	t.Cleanup(func() { closeHolders(all) })
	c := &caller{client: &http.Client{Timeout: time.Minute, Transport: new(http.Transport)}, base: "http://" + all[0].addr}
	t.Cleanup(c.close)
	return all[0], c
}

func TestHolderHolds(t *testing.T) {
	h, c := heldCaller(t)
	volley := c.volley(t.Context(), holdPath, 3, http.MethodGet, http.MethodPost)
	require.NoError(t, awaitHeld(t.Context(), 6, h))
	require.Empty(t, volley)
	h.letGo()
	answers := <-volley
	require.Len(t, answers, 6)
	methods := make(map[string]int)
	for _, a := range answers {
		require.True(t, a.ok())
		require.Equal(t, 1, h.ledger.executed(a.id))
		methods[a.method]++
	}
	require.Equal(t, map[string]int{http.MethodGet: 3, http.MethodPost: 3}, methods)
	require.Zero(t, h.ledger.executed("another"))
}
