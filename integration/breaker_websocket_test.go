package integration

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
)

// TestExtendedConnectAsProbe: a WebSocket over HTTP/3, which is a CONNECT whose body goes
// on, holds the slot of a probe up to its header as well, and is no slow upload.
func TestExtendedConnectAsProbe(t *testing.T) {
	t.Parallel()
	b := startBreakerFile(t, 1, `
		{
			servers {
				protocols h1 h2 h3
			}
		}
		{{https "secure"}} {
			edge_breaker {
				failures 1
				open 1h 1h
				probes 1
				successes 2
			}
			reverse_proxy {{.pool}} {
				lb_policy edge
			}
		}
	`, nil)
	b.origin.Handle("/socket", echo())
	b.halfOpen(0)

	target, err := url.Parse(b.URL("secure") + "/socket")
	require.NoError(t, err)
	body, send := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	req := (&http.Request{
		Method: http.MethodConnect, Proto: "websocket", URL: target, Host: target.Host,
		Header: http.Header{"Sec-Websocket-Version": {"13"}}, Body: body, ContentLength: -1,
	}).WithContext(ctx)
	resp, err := b.Client(harness.H3).Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	reader := bufio.NewReader(resp.Body)
	say := func(text string) {
		_, err := io.WriteString(send, text+"\n")
		require.NoError(t, err)
		got, err := reader.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, text+"\n", got)
	}
	say("hello")
	s := b.status(0)
	require.Equal(t, []any{"half_open", 1, 0}, []any{s.State, s.Active, s.Probes})
	require.Equal(t, http.StatusOK, b.Get(harness.H3, b.URL("secure")+"/page").Status, "there is room for the next one")
	say("still there")
	require.NoError(t, send.Close())
	_, err = io.Copy(io.Discard, reader)
	require.NoError(t, err)
	b.awaitState(0, "closed")
}
