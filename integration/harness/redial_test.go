package harness

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// dropper closes its first connections without a word, and answers on the others
// with what it was sent. before is what it writes in front of the close.
func dropper(t *testing.T, drops int64, before string) (addr string, seen *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	seen = new(atomic.Int64)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if seen.Add(1) > drops {
			_, _ = io.Copy(w, r.Body)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_, _ = io.WriteString(conn, before)
			_ = conn.Close()
		}
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	return l.Addr().String(), seen
}

func TestRedialing(t *testing.T) {
	for _, test := range []struct {
		name   string
		loaded bool
		drops  int64
		before string // of a response, from a connection that is dropped
		seen   int64
		fails  bool
	}{
		{"no drop", true, 0, "", 1, false},
		{"a few", true, 3, "", 4, false},
		{"all", true, 1000, "", 1 + redials, true},
		{"no load", false, 3, "", 1, true},
		{"in the middle of a response", true, 3, "HTTP/1.1 200 OK\r\n", 1, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr, seen := dropper(t, test.drops, test.before)
			loaded := new(atomic.Bool)
			loaded.Store(test.loaded)
			client := newClient(H1, nil, &net.Dialer{}, loaded)
			defer client.CloseIdleConnections()
			req, err := NewRequest(http.MethodPost, "http://"+addr, strings.Repeat("x", 100))
			require.NoError(t, err)
			got, err := Send(client, req)
			require.Equal(t, test.seen, seen.Load())
			if test.fails {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			require.Len(t, got.Body, 100)
		})
	}
}

func TestRedialingLeavesKeptConnectionsAlone(t *testing.T) {
	var seen atomic.Int64
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if seen.Add(1) == 2 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusOK)
	})}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	loaded := new(atomic.Bool)
	loaded.Store(true)
	client := newClient(H1, nil, &net.Dialer{}, loaded)
	defer client.CloseIdleConnections()
	for i, fails := range []bool{false, true} {
		req, err := NewRequest(http.MethodPost, "http://"+l.Addr().String(), "")
		require.NoError(t, err)
		_, err = Send(client, req)
		require.Equal(t, fails, err != nil, "request %d: %v", i, err)
	}
	require.EqualValues(t, 2, seen.Load())
}
