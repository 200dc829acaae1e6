package integration

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
)

// grpcMessage is an empty message in the framing of gRPC.
var grpcMessage = []byte{0, 0, 0, 0, 0}

// startGRPC starts an HTTP/2 server without TLS that ends each call with the result
// in the request's field Want: in the trailers, after a message, or in the header
// when the field Only is set.
func startGRPC(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/grpc")
		if r.Header.Get("Only") != "" {
			w.Header().Set("Grpc-Status", r.Header.Get("Want"))
			w.WriteHeader(http.StatusOK)
			return
		}
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write(grpcMessage)
		w.Header().Set("Grpc-Status", r.Header.Get("Want"))
	})}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return l.Addr().String()
}

func TestResultsOfGRPC(t *testing.T) {
	t.Parallel()
	addr := startGRPC(t)
	const site = `
		{
			servers {
				protocols h1 h2 h2c h3
			}
		}
		{{http "site"}}, {{https "secure"}} {
			log
			edge_breaker {
				failures 3
				open     1h 1h
				{{.rules}}
			}
			reverse_proxy h2c://{{.grpc}} {
				lb_policy edge
			}
		}
	`
	b := startBreakerFile(t, 1, site, harness.Vars{"grpc": addr, "rules": ""})
	call := func(p harness.Proto, name string, want int, lines ...string) *harness.Response {
		t.Helper()
		got := b.Do(p, http.MethodPost, b.URL(name)+"/pkg.Service/Method", string(grpcMessage),
			append(lines, "Content-Type: application/grpc", "TE: trailers", "Want: "+strconv.Itoa(want))...)
		return got
	}
	reset := func() {
		t.Helper()
		for _, mode := range []string{"closed", "auto"} {
			status, body := b.Admin(http.MethodPost, "/edge/breaker/force", map[string]string{"address": addr, "mode": mode})
			require.Equal(t, http.StatusOK, status, string(body))
		}
	}
	opens := func(p harness.Proto, name string, want int, lines ...string) {
		t.Helper()
		for range 3 {
			got := call(p, name, want, lines...)
			require.Equal(t, http.StatusOK, got.Status)
			seen := got.Trailer.Get("Grpc-Status")
			if len(lines) == 0 {
				require.True(t, bytes.Equal(grpcMessage, got.Body))
				require.Equal(t, strconv.Itoa(want), seen)
			}
		}
		poll(t, "it opens", func() bool { return b.statusOf(addr).State == "open" })
		require.Equal(t, http.StatusServiceUnavailable, call(p, name, 0).Status)
		reset()
	}
	const unavailable, notFound, exhausted, deadline = 14, 5, 8, 4
	for p, name := range map[harness.Proto]string{harness.H2C: "site", harness.H2: "secure", harness.H3: "secure"} {
		opens(p, name, unavailable)
		opens(p, name, unavailable, "Only: header")
		for range 5 {
			require.Equal(t, http.StatusOK, call(p, name, notFound).Status)
			require.Equal(t, http.StatusOK, call(p, name, deadline, "Grpc-Timeout: 1S").Status, "the client's own deadline")
		}
		poll(t, "all have ended", func() bool { return b.statusOf(addr).Active == 0 })
		s := b.statusOf(addr)
		require.Equal(t, []any{"closed", 0}, []any{s.State, s.Failures})
	}
	opens(harness.H2C, "site", deadline)

	require.NoError(t, b.Reload(site, harness.Vars{"rules": "grpc_status RESOURCE_EXHAUSTED 5"}))
	opens(harness.H2C, "site", exhausted)
	opens(harness.H2C, "site", notFound)
	for range 5 {
		require.Equal(t, http.StatusOK, call(harness.H2C, "site", unavailable).Status)
	}
	require.Equal(t, "closed", b.statusOf(addr).State)
}
