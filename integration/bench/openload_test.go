package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestOpenLoadWaitsForNobody: all requests are under way at once although none has
// been answered, and each outcome belongs to its arrival.
func TestOpenLoadWaitsForNobody(t *testing.T) {
	const n = 20
	var here atomic.Int64
	all := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if here.Add(1) == n {
			close(all)
		}
		<-all
		if r.Header.Get("X-Forwarded-For") == "10.0.0.7" {
			w.WriteHeader(http.StatusTooManyRequests)
		}
	}))
	defer server.Close()
	l := openLoad{addrs: []string{strings.TrimPrefix(server.URL, "http://")}, patience: time.Minute}
	for i := range n {
		l.arrivals = append(l.arrivals, arrival{client: i, fields: forwardedFor(clientAddr(i))})
	}
	outcomes, err := l.run(t.Context())
	require.NoError(t, err)
	require.Len(t, outcomes, n)
	for i, o := range outcomes {
		require.NoError(t, o.err)
		require.GreaterOrEqual(t, o.latency, o.late)
		if i == 7 {
			require.Equal(t, http.StatusTooManyRequests, o.status)
		} else {
			require.Equal(t, http.StatusOK, o.status)
		}
	}
}

// TestOpenLoadReusesConnections: one request after the other takes one connection
// for each address.
func TestOpenLoadReusesConnections(t *testing.T) {
	var opened atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	l := openLoad{addrs: []string{server.Listener.Addr().String()}, patience: time.Minute}
	var pool idleClients
	for range 5 {
		status, err := l.send(t.Context(), &pool, &arrival{})
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status)
	}
	require.EqualValues(t, 1, opened.Load())
	require.Len(t, pool.clients, 1)
	closeAll(pool.clients)
}

func TestOpenLoadGivesUp(t *testing.T) {
	end := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-end }))
	defer server.Close()
	defer close(end)
	l := openLoad{addrs: []string{strings.TrimPrefix(server.URL, "http://")}, patience: 10 * time.Millisecond, arrivals: make([]arrival, 2)}
	outcomes, err := l.run(t.Context())
	require.NoError(t, err)
	for _, o := range outcomes {
		require.Zero(t, o.status)
		var timeout net.Error
		require.ErrorAs(t, o.err, &timeout)
		require.True(t, timeout.Timeout())
	}
}

func TestOpenLoadStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := openLoad{arrivals: []arrival{{at: time.Hour}}}
	_, err := l.run(ctx)
	require.ErrorIs(t, err, context.Canceled)
}
