package integration

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// TestGuardBodyLimit: a body beyond the limit is 413 however it is framed, and no origin
// takes what came of it for the whole.
func TestGuardBodyLimit(t *testing.T) {
	t.Parallel()
	const most = 100_000
	c := startGuarded(t, fmt.Sprintf("edge_guard {\nmax_body %d\n}", most), "")
	for _, p := range []harness.Proto{harness.H1, harness.H2, harness.H3} {
		for _, length := range []bool{true, false} {
			for _, size := range []int{0, 1, most, most + 1, 10 * most} {
				t.Run(fmt.Sprintf("%s/length=%v/%d", p, length, size), func(t *testing.T) {
					c := c.in(t)
					req, err := harness.NewRequest(http.MethodPost, c.URL("secure")+"/upload", "")
					require.NoError(t, err)
					req.Body, req.ContentLength = io.NopCloser(strings.NewReader(string(origin.Pattern(size)))), -1
					if length {
						req.ContentLength = int64(size)
					}
					got, err := harness.Send(c.Client(p), req)
					require.NoError(t, err)
					all := c.arrived()
					if size > most {
						require.Equal(t, http.StatusRequestEntityTooLarge, got.Status)
						require.Contains(t, string(got.Body), `"check":"body_size"`)
						require.Empty(t, all, "the origin got no whole body")
						return
					}
					require.Equal(t, http.StatusOK, got.Status)
					require.Len(t, all, 1)
					require.Equal(t, origin.Pattern(size), append([]byte{}, all[0].Body...))
				})
			}
		}
	}
}

// TestGuardRefusalDoesNotWaitForTheBody: a client that waits for "100 Continue" gets the
// refusal at once, by error routes too.
func TestGuardRefusalDoesNotWaitForTheBody(t *testing.T) {
	t.Parallel()
	for _, more := range []string{"", "handle_errors {\nrespond \"{err.status_code}\"\n}"} {
		s := startGuarded(t, "edge_guard", more).open()
		s.send("TRACE / HTTP/1.1\r\nHost: SITE\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
		resp := s.next()
		require.NotNil(t, resp)
		require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
		require.True(t, resp.Close)
	}
}

// TestGuardFraming: behind a chunked request of HTTP/1 the connection is closed, so that
// nothing that follows on it is taken for another request.
func TestGuardFraming(t *testing.T) {
	t.Parallel()
	const both = "POST /first HTTP/1.1\r\nHost: SITE\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" +
		"GET /smuggled HTTP/1.1\r\nHost: SITE\r\n\r\n"
	t.Run("closed", func(t *testing.T) {
		c := startGuarded(t, "edge_guard", "")
		s := c.open()
		s.send(both)
		resp := s.next()
		require.NotNil(t, resp)
		require.True(t, resp.Close)
		require.Nil(t, s.next())
		c.requireArrived("/first", 1)
		c.requireArrived("/smuggled", 0)
		require.InDelta(t, 1, c.Metrics()[`caddy_edge_guard_checks_total{action="closed",check="framing"}`], 0)

		s = c.open()
		s.send("GET /a HTTP/1.1\r\nHost: SITE\r\n\r\n")
		require.False(t, s.next().Close, "without a body it stays open")
		s.send("POST /b HTTP/1.1\r\nHost: SITE\r\nContent-Length: 1\r\n\r\nx")
		require.False(t, s.next().Close)
	})
	t.Run("trusted", func(t *testing.T) {
		c := startGuarded(t, "edge_guard {\nchunked trusted\n}", "")
		for source, closed := range map[string]bool{"127.0.0.2": false, "127.0.0.3": true} {
			client := c.ClientFrom(source)
			req := c.request(http.MethodPost, "/up")
			req.Body, req.ContentLength = io.NopCloser(strings.NewReader("x")), -1
			resp, err := client.Do(req)
			require.NoError(t, err)
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			require.Equal(t, closed, resp.Close, source)
		}
	})
	t.Run("off", func(t *testing.T) {
		c := startGuarded(t, "edge_guard {\ncheck framing off\n}", "")
		s := c.open()
		s.send(both)
		require.False(t, s.next().Close)
		require.NotNil(t, s.next(), "that is what Caddy does without the guard")
		c.requireArrived("/smuggled", 1)
	})
}

// TestGuardProtocolFacts holds what docs/protocol.md says of Caddy's own server and of the
// guard: the status that a request gets without it and with it, 0 for a closed connection.
func TestGuardProtocolFacts(t *testing.T) {
	t.Parallel()
	without, with := startGuarded(t, "", ""), startGuarded(t, "edge_guard", "")
	for _, fact := range []struct {
		name, request string
		without, with int
	}{
		{"no Host", "GET / HTTP/1.1\r\n\r\n", 400, 400},
		{"two Hosts", "GET / HTTP/1.1\r\nHost: SITE\r\nHost: SITE\r\n\r\n", 400, 400},
		{"no Host in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", 200, 400},
		{"a Host that is none", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 200, 400},
		{"an invalid escape", "GET /% HTTP/1.1\r\nHost: SITE\r\n\r\n", 400, 400},
		{"a control character in the target", "GET /\x01 HTTP/1.1\r\nHost: SITE\r\n\r\n", 400, 400},
		{"NUL in a field", "GET / HTTP/1.1\r\nHost: SITE\r\nA: \x00\r\n\r\n", 400, 400},
		{"a space in front of the colon", "GET / HTTP/1.1\r\nHost: SITE\r\nA : b\r\n\r\n", 400, 400},
		{"a folded field", "GET / HTTP/1.1\r\nHost: SITE\r\nA: b\r\n c\r\n\r\n", 200, 200},
		{"two lengths", "POST / HTTP/1.1\r\nHost: SITE\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400, 400},
		{"an unknown coding", "POST / HTTP/1.1\r\nHost: SITE\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, 501},
		{"length and chunked", "POST / HTTP/1.1\r\nHost: SITE\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, 200},
		{"bare LF", "GET / HTTP/1.1\nHost: SITE\n\n", 200, 200},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: SITE\r\n\r\n", 200, 200},
		{"GET *", "GET * HTTP/1.1\r\nHost: SITE\r\n\r\n", 200, 400},
		{"CONNECT", "CONNECT SITE HTTP/1.1\r\nHost: SITE\r\n\r\n", 200, 405},
		{"TRACE", "TRACE / HTTP/1.1\r\nHost: SITE\r\n\r\n", 200, 405},
		{"an upgrade to h2c", "GET / HTTP/1.1\r\nHost: SITE\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n", 200, 400},
		{"absolute form", "GET http://SITE/x HTTP/1.1\r\nHost: SITE\r\n\r\n", 200, 200},
		{"a double slash", "GET //x HTTP/1.1\r\nHost: SITE\r\n\r\n", 200, 200},
	} {
		t.Run(fact.name, func(t *testing.T) {
			for c, want := range map[*cachedEdge]int{without: fact.without, with: fact.with} {
				s := c.in(t).open()
				s.send(fact.request)
				got := 0
				if resp := s.next(); resp != nil {
					got = resp.StatusCode
				}
				require.Equal(t, want, got, "with the guard: %v", c == with)
			}
		})
	}
}

// TestGuardProtocolFields holds what docs/protocol.md says of fields.
func TestGuardProtocolFields(t *testing.T) {
	t.Parallel()
	c := startGuarded(t, "edge_guard", "")
	s := c.open()
	s.send("GET http://SITE/absolute HTTP/1.1\r\nHost: other.example\r\nA_B: 1\r\nA.B: 1\r\nA-B: b\r\n c\r\n\r\n")
	resp := s.next()
	require.NotNil(t, resp)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	all := c.arrived()
	require.Len(t, all, 1)
	require.Equal(t, "/absolute", all[0].URI)
	require.Equal(t, c.host(), all[0].Host, "the host of the target counts")
	require.Equal(t, "b c", all[0].Header.Get("A-B"), "a folded field is one line")
	for name := range all[0].Header {
		require.NotContains(t, name, "_")
		require.NotContains(t, name, ".")
	}
	require.Equal(t, http.StatusBadRequest, c.overHTTP2([2]string{":method", "GET"}, [2]string{":scheme", "http"}, [2]string{":path", "/"},
		[2]string{":authority", c.host()}, [2]string{"connection", "keep-alive"}))
	require.Equal(t, http.StatusOK, c.overHTTP2([2]string{":method", "GET"}, [2]string{":scheme", "http"}, [2]string{":path", "/"},
		[2]string{":authority", c.host()}))
	c.arrived()
	require.Equal(t, http.StatusOK, c.overHTTP2([2]string{":method", "GET"}, [2]string{":scheme", "http"}, [2]string{":path", "/query?a=b HTTP/1.1#<\xff"},
		[2]string{":authority", c.host()}))
	all = c.arrived()
	require.Len(t, all, 1)
	require.Equal(t, "/query?a=b%20HTTP/1.1%23%3C%FF", all[0].URI, "a request line has no spaces but its own")
	require.Equal(t, http.StatusMethodNotAllowed, c.overHTTP2([2]string{":method", "CONNECT"}, [2]string{":authority", c.host()}))
}

// overHTTP2 sends fields as the header of a request over HTTP/2, and returns the status.
func (c *cachedEdge) overHTTP2(fields ...[2]string) int {
	c.t.Helper()
	conn := c.Dial("site")
	require.NoError(c.t, conn.SetDeadline(time.Now().Add(limit)))
	_, err := io.WriteString(conn, http2.ClientPreface)
	require.NoError(c.t, err)
	framer := http2.NewFramer(conn, conn)
	require.NoError(c.t, framer.WriteSettings())
	var block strings.Builder
	encoder := hpack.NewEncoder(&block)
	for _, f := range fields {
		require.NoError(c.t, encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
	}
	require.NoError(c.t, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndHeaders: true, EndStream: true}))
	decoder := hpack.NewDecoder(4096, nil)
	for {
		frame, err := framer.ReadFrame()
		require.NoError(c.t, err)
		if headers, ok := frame.(*http2.HeadersFrame); ok {
			got, err := decoder.DecodeFull(headers.HeaderBlockFragment())
			require.NoError(c.t, err)
			require.Equal(c.t, ":status", got[0].Name)
			status, err := strconv.Atoi(got[0].Value)
			require.NoError(c.t, err)
			return status
		}
	}
}
