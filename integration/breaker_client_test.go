package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// hostileSite is one backend that opens at the second failure. It has a limit for
// bodies on both sides of edge_breaker.
const hostileSite = `
	{
		servers {
			protocols h1 h2 h2c h3
		}
	}
	{{http "site"}}, {{https "secure"}} {
		request_body /limited {
			max_size 1KB
		}
		edge_breaker {
			failures      2
			failure_ratio 0.1 20
			open          1h 1h
		}
		reverse_proxy {{.origin}} {
			lb_policy edge
		}
	}
`

// hostileClients is how many clients of each kind there are.
const hostileClients = 100

// TestNoClientOpensABreaker has clients by the hundreds do what makes requests
// fail through no fault of the backend.
func TestNoClientOpensABreaker(t *testing.T) {
	t.Parallel()
	b := startBreakerFile(t, 1, hostileSite, nil)
	untouched := func(t *testing.T) {
		t.Helper()
		b := b.in(t)
		poll(t, "all requests have ended", func() bool { return b.status(0).Active == 0 })
		s := b.status(0)
		require.Equal(t, []any{"closed", 0}, []any{s.State, s.Failures})
		require.InDelta(t, 0, s.Errors, 0)
		errors := b.failures(b.addr(0))
		delete(errors, "client")
		require.Empty(t, errors)
		require.Equal(t, http.StatusOK, b.get("/page").Status)
	}

	for _, p := range []harness.Proto{harness.H1, harness.H2, harness.H3} {
		site := map[harness.Proto]string{harness.H1: "site", harness.H2: "secure", harness.H3: "secure"}[p]
		get := func(ctx context.Context, path string) *http.Request {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.URL(site)+path, nil)
			require.NoError(t, err)
			return req
		}
		t.Run("they leave before the header, "+string(p), func(t *testing.T) {
			path := "/before/" + string(p)
			gate := origin.NewGate()
			t.Cleanup(gate.Open)
			b.origin.Handle(path, origin.Reply{HoldHeader: gate})
			ctx, leave := context.WithCancel(t.Context())
			sent := sendTogether(t, b.Client(p), hostileClients, func(int) *http.Request { return get(ctx, path) })
			b.origin.WaitArrived(t, path, hostileClients)
			leave()
			for _, o := range sent.wait() {
				require.ErrorIs(t, o.err, context.Canceled)
			}
			b.origin.WaitAborted(t, path, hostileClients)
			untouched(t)
		})
		t.Run("they leave during the response, "+string(p), func(t *testing.T) {
			path := "/during/" + string(p)
			b.origin.Handle(path, origin.Reply{Headers: []string{"Content-Length: 10000000"}, Body: origin.Pattern(200_000), Ending: origin.Hang})
			client := b.Client(p)
			var clients sync.WaitGroup
			for range hostileClients {
				clients.Go(func() {
					ctx, leave := context.WithCancel(t.Context())
					defer leave()
					resp, err := client.Do(get(ctx, path))
					if err != nil {
						t.Error(err)
						return
					}
					defer resp.Body.Close()
					if _, err := io.ReadFull(resp.Body, make([]byte, 1000)); err != nil {
						t.Error(err)
					}
				})
			}
			clients.Wait()
			b.origin.WaitAborted(t, path, hostileClients)
			untouched(t)
		})
		t.Run("their bodies are too large, "+string(p), func(t *testing.T) {
			// By length, and without one, which is found out on the way.
			client := b.Client(p)
			large := strings.Repeat("x", 100_000)
			for i := range hostileClients {
				var body io.Reader = strings.NewReader(large)
				if i%2 == 1 {
					body = io.MultiReader(body)
				}
				req, err := http.NewRequest(http.MethodPost, b.URL(site)+"/limited", body)
				require.NoError(t, err)
				resp, err := client.Do(req)
				if err != nil {
					continue // the edge closed the connection before all was sent
				}
				resp.Body.Close()
				require.Equal(t, http.StatusRequestEntityTooLarge, resp.StatusCode)
			}
			untouched(t)
		})
		t.Run("they leave in the middle of an upload, "+string(p), func(t *testing.T) {
			client := b.Client(p)
			ctx, leave := context.WithTimeout(t.Context(), limit)
			var uploads []*io.PipeWriter
			var clients sync.WaitGroup
			for range hostileClients {
				body, send := io.Pipe()
				uploads = append(uploads, send)
				context.AfterFunc(ctx, func() { send.CloseWithError(ctx.Err()) })
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.URL(site)+"/upload", body)
				require.NoError(t, err)
				clients.Go(func() { _, _ = harness.Send(client, req) })
			}
			for _, send := range uploads {
				_, err := io.WriteString(send, "half")
				require.NoError(t, err)
			}
			b.awaitActive(hostileClients)
			leave()
			clients.Wait()
			untouched(t)
		})
	}

	t.Run("their chunks are malformed", func(t *testing.T) {
		b := b.in(t)
		for i := range hostileClients {
			body := []string{"ZZ\r\nx\r\n0\r\n\r\n", "5\r\nab", "-1\r\n", "5\r\nabcdefgh\r\n0\r\n\r\n"}[i%4]
			conn := b.Dial("site")
			_, err := fmt.Fprintf(conn, "POST /upload HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n%s", b.host(), body)
			require.NoError(t, err)
			if i%4 == 1 {
				require.NoError(t, conn.Close()) // in the middle of a chunk
				continue
			}
			require.NoError(t, conn.SetDeadline(time.Now().Add(limit)))
			_, err = io.ReadAll(conn)
			require.NoError(t, err, "the edge ends it")
			require.NoError(t, conn.Close())
		}
		untouched(t)
	})
}

// awaitActive waits until the first backend has that many requests.
func (b *breakerEdge) awaitActive(n int) {
	b.t.Helper()
	poll(b.t, fmt.Sprintf("%d requests are under way", n), func() bool { return b.status(0).Active == n })
}

// TestASlowUploadIsNoFault has clients take far longer than the origin may until
// its header comes.
func TestASlowUploadIsNoFault(t *testing.T) {
	t.Parallel()
	b := startBreakerFile(t, 2, `
		{
			servers {
				protocols h1 h2 h2c h3
			}
		}
		{{http "site"}} {
			edge_breaker {
				failures       1
				slow_ratio     0.1 2s 1
				open           1h 1h
				header_timeout 2s
			}
			reverse_proxy {{.origin}} {
				lb_policy edge
			}
		}
		{{http "clock"}} {
			edge_breaker {
				failures       off
				failure_ratio  1 1000000
				header_timeout 100ms
			}
			reverse_proxy {{index .backends 1}} {
				lb_policy edge
			}
		}
	`, nil)
	b.backends[1].Handle("/hangs", origin.Reply{HoldHeader: origin.NewGate()})
	for _, p := range []harness.Proto{harness.H1, harness.H2C} {
		t.Run(string(p), func(t *testing.T) {
			b := b.in(t)
			path := "/upload/" + string(p)
			body, send := io.Pipe()
			req, err := http.NewRequest(http.MethodPost, b.URL("site")+path, body)
			require.NoError(t, err)
			done := make(chan outcome, 1)
			client := b.Client(p)
			go func() {
				got, err := harness.Send(client, req)
				done <- outcome{got, err}
			}()
			_, err = io.WriteString(send, "first half, ")
			require.NoError(t, err)
			b.awaitActive(1)
			// Time passes: more than the origin may take to its header.
			for range 21 {
				require.Equal(t, http.StatusGatewayTimeout, b.Get(p, b.URL("clock")+"/hangs").Status)
			}
			_, err = io.WriteString(send, "second half")
			require.NoError(t, err)
			require.NoError(t, send.Close())
			result := <-done
			require.NoError(t, result.err)
			require.Equal(t, http.StatusOK, result.got.Status)
			require.Equal(t, "first half, second half", string(b.origin.Requests(path)[0].Body))
			b.awaitState(0, "closed")
			s := b.status(0)
			require.Zero(t, s.Failures)
			require.Less(t, s.P99, 2000.0, "the time of the upload is none of the backend")
			require.Empty(t, b.failures(b.addr(0)))
		})
	}
}
