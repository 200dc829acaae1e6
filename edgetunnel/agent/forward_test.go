package agent

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgetunnel/mux"
	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
)

// forwarding is the edge's end of a session with an agent whose backend app is at to.
func forwarding(t *testing.T, to string) *mux.Session {
	t.Helper()
	backends := new(Backends)
	stop, err := backends.Forward("app", Forward{To: to})
	require.NoError(t, err)
	t.Cleanup(stop)
	a := &Agent{config: Config{Log: zap.NewNop()}, backends: backends}
	near, far := net.Pipe()
	edge, agent := mux.New(near, nil, mux.Config{}), mux.New(far, nil, mux.Config{Accept: a.accept})
	t.Cleanup(func() { _, _ = edge.Close(), agent.Close() })
	return edge
}

// ask opens a stream for a request, and reads the status.
func ask(t *testing.T, edge *mux.Session, head string) (*mux.Stream, wire.Status) {
	t.Helper()
	st, err := edge.Open(append(wire.Preface{Backend: "app"}.Append(nil), head...))
	require.NoError(t, err)
	require.NoError(t, st.SetReadDeadline(time.Now().Add(patience)))
	var b [1]byte
	_, err = io.ReadFull(st, b[:])
	require.NoError(t, err)
	return st, wire.Status(b[0])
}

// TestUnconfirmedRequests gives up requests that the agent has taken: their backend must not
// get them, and others that share a connection to it must not notice.
func TestUnconfirmedRequests(t *testing.T) {
	for _, h2c := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2c %t", h2c), func(t *testing.T) {
			var got atomic.Int64
			next := make(chan string)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/long" {
					got.Add(1)
					return
				}
				for event := range next {
					fmt.Fprint(w, event)
					_ = http.NewResponseController(w).Flush()
				}
			}))
			server.Config.Protocols = new(http.Protocols)
			server.Config.Protocols.SetHTTP1(true)
			server.Config.Protocols.SetUnencryptedHTTP2(true)
			server.Start()
			t.Cleanup(server.Close)
			t.Cleanup(func() { close(next) })
			to := server.Listener.Addr().String()
			if h2c {
				to = "h2c://" + to
			}
			edge := forwarding(t, to)
			go func() { next <- "one\n" }()
			long, status := ask(t, edge, "GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
			require.Equal(t, wire.Accepted, status)
			in := bufio.NewReader(long)
			resp, err := http.ReadResponse(in, nil)
			require.NoError(t, err)
			body := bufio.NewReader(resp.Body)
			line, err := body.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "one\n", line)
			for range 20 {
				st, status := ask(t, edge, "DELETE /other HTTP/1.1\r\nHost: x\r\n\r\n")
				require.Equal(t, wire.Accepted, status)
				require.NoError(t, st.Close())
			}
			next <- "two\n"
			line, err = body.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "two\n", line)

			// One that is confirmed comes behind all of them.
			st, _ := ask(t, edge, "DELETE /other HTTP/1.1\r\nHost: x\r\n\r\n")
			require.NoError(t, st.Confirm())
			resp, err = http.ReadResponse(bufio.NewReader(st), nil)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, int64(1), got.Load())
			require.NoError(t, st.Close())
			require.NoError(t, long.Close())
		})
	}
}
