package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

func TestTrailersPassAndAreNotStored(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	for name, reply := range map[string]origin.Reply{
		"announced":   {Headers: []string{minute, "Trailer: X-Sum"}, Trailers: []string{"X-Sum: 7"}},
		"unannounced": {Headers: []string{minute}, Trailers: []string{"X-Sum: 7"}},
	} {
		for _, proto := range []harness.Proto{harness.H1, harness.H2C} {
			t.Run(name+" "+string(proto), func(t *testing.T) {
				c := c.in(t)
				path := "/" + name + "/" + string(proto)
				reply.Body, reply.Framing = []byte("whole"), origin.Chunked
				c.origin.Handle(path, reply)
				for range 2 {
					got := c.Get(proto, c.URL("site")+path)
					require.Equal(t, "whole", string(got.Body))
					require.Equal(t, "7", got.Trailer.Get("X-Sum"))
				}
				require.Equal(t, 2, c.origin.Stats(path).Arrived)
			})
		}
	}
}

func TestEarlyHintsReachLeaderAndJoinersAndAreNotStored(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	gate := origin.NewGate()
	c.origin.Handle("/page", origin.Reply{
		Headers: []string{minute, "X-Final: 1"}, Body: []byte("whole"), HoldHeader: gate,
		Interim: []origin.Interim{
			{Status: 103, Headers: []string{"Link: </a.css>; rel=preload", "X-Early: 1"}},
			{Status: 103, Headers: []string{"Link: </b.css>; rel=preload"}},
		},
	})
	b := sendTogether(t, c.Client(harness.H1), 5, func(int) *http.Request { return c.request(http.MethodGet, "/page") })
	c.origin.WaitArrived(t, "/page", 1)
	gate.Open()
	hinted := 0
	for _, got := range b.responses() {
		require.Equal(t, "whole", string(got.Body))
		require.Equal(t, "1", got.Header.Get("X-Final"))
		require.Empty(t, got.Header.Get("X-Early"))
		require.Empty(t, got.Header.Get("Link"))
		if strings.Contains(cacheStatus(got), "; hit") {
			continue // came when everything was over
		}
		hinted++
		require.Len(t, got.Interim, 2)
		require.Equal(t, "</a.css>; rel=preload", got.Interim[0].Header.Get("Link"))
		require.Equal(t, "</b.css>; rel=preload", got.Interim[1].Header.Get("Link"))
	}
	require.NotZero(t, hinted)
	hit := c.get("/page")
	require.Contains(t, cacheStatus(hit), "edge; hit")
	require.Empty(t, hit.Interim)
	require.Empty(t, hit.Header.Get("Link"))
	c.requireArrived("/page", 1)
}

func TestServerSentEventsStreamOneByOne(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	for name, lines := range map[string][]string{
		"asked for":         {"Accept: text/event-stream"},
		"asked for, or any": {"Accept: text/event-stream, */*"},
		"not asked for":     nil,
	} {
		t.Run(name, func(t *testing.T) {
			c := c.in(t)
			path := "/" + harnessPath(name)
			gates := []*origin.Gate{origin.NewGate(), origin.NewGate()}
			c.origin.HandleFunc(path, func(r *origin.Request) origin.Reply {
				return origin.Reply{
					// Even an origin that allows storing it means a stream.
					Headers: []string{"Content-Type: text/event-stream", minute}, Framing: origin.Chunked,
					Body: []byte("data: 1\n\ndata: 2\n\ndata: 3\n\n"), ChunkSize: 9, HoldChunk: gates[r.N-1],
				}
			})
			client := c.Client(harness.H1)
			one, _ := open(t, client, c.request(http.MethodGet, path, lines...))
			two, _ := open(t, client, c.request(http.MethodGet, path, lines...))
			require.Equal(t, 2, c.origin.Stats(path).Arrived, "each client has a stream of its own")
			for i := 1; i <= 3; i++ {
				for n, resp := range []*http.Response{one, two} {
					gates[n].Step(1)
					require.Equal(t, fmt.Sprintf("data: %d\n\n", i), readN(t, resp.Body, 9))
				}
			}
			for _, resp := range []*http.Response{one, two} {
				_, err := io.Copy(io.Discard, resp.Body)
				require.NoError(t, err)
			}
		})
	}
	require.Zero(t, c.stats().Entries)
}

func TestWebSocketPassesThroughTheCache(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.Handle("/socket", origin.Reply{Takeover: func(_ net.Conn, rw *bufio.ReadWriter) {
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		for {
			_ = rw.Flush()
			line, err := rw.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = rw.WriteString("echo " + line)
		}
	}})
	for range 2 {
		conn := c.Dial("site")
		require.NoError(t, conn.SetDeadline(time.Now().Add(limit)))
		_, err := io.WriteString(conn, "GET /socket HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
		require.NoError(t, err)
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
		for _, word := range []string{"one\n", "two\n"} {
			_, err = io.WriteString(conn, word)
			require.NoError(t, err)
			line, err := r.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "echo "+word, line)
		}
		require.NoError(t, conn.Close())
	}
	c.origin.Wait(t, "/socket", func(s origin.Stats) bool { return s.Active == 0 })
	require.Zero(t, c.stats().Entries)
}

func TestPOSTWithTrailersPasses(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.HandleFunc("/service/Method", func(r *origin.Request) origin.Reply {
		return origin.Reply{
			Headers: []string{"Content-Type: application/grpc", "Trailer: Grpc-Status"}, Framing: origin.Chunked,
			Body: append([]byte("got "), r.Body...), Trailers: []string{"Grpc-Status: 0"},
		}
	})
	for _, proto := range []harness.Proto{harness.H1, harness.H2C} {
		got := c.Do(proto, http.MethodPost, c.URL("site")+"/service/Method", "message", "Content-Type: application/grpc", "Te: trailers")
		require.Equal(t, "got message", string(got.Body))
		require.Equal(t, "0", got.Trailer.Get("Grpc-Status"))
		require.Contains(t, cacheStatus(got), "fwd=method")
	}
}

func TestCONNECTIsNotAnsweredByTheCache(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.Handle("/", text("front page", minute))
	c.get("/")
	conn := c.Dial("site")
	require.NoError(t, conn.SetDeadline(time.Now().Add(limit)))
	_, addr, _ := strings.Cut(c.URL("site"), "://")
	_, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", addr, addr)
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodGet})
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NotContains(t, string(body), "front page")
	require.NotContains(t, resp.Header.Get("Cache-Status"), "hit")
	require.Equal(t, 1, c.stats().Entries)
}

// An endless response streams within a window of memory and ends with its last
// client.
func TestEndlessStreamTakesBoundedMemory(t *testing.T) {
	t.Parallel()
	c := startCached(t, "max_object_size 1MiB")
	for name, lines := range map[string][]string{
		"that might be stored": {minute},
		"that may not":         {"Cache-Control: no-store"},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.in(t)
			path := "/" + harnessPath(name)
			piece := origin.Pattern(1 << 20)
			c.origin.Handle(path, origin.Reply{Takeover: func(conn net.Conn, _ *bufio.ReadWriter) {
				_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%s\r\nTransfer-Encoding: chunked\r\n\r\n", lines[0])
				for {
					chunk := net.Buffers{fmt.Appendf(nil, "%x\r\n", len(piece)), piece, []byte("\r\n")}
					if _, err := chunk.WriteTo(conn); err != nil {
						return
					}
				}
			}})
			resp, leave := open(t, c.Client(harness.H1), c.request(http.MethodGet, path))
			for range 64 {
				require.Equal(t, string(piece), readN(t, resp.Body, len(piece)))
				s := c.stats()
				require.LessOrEqual(t, s.Reserved, int64(6<<20))
			}
			leave()
			c.origin.WaitActive(t, path, 0)
			poll(t, "the reservation is given back", func() bool { return c.stats().Reserved == 0 })
		})
	}
	require.Zero(t, c.stats().Entries)
}

func TestBodyOverTheMaximumIsPassedAndNotStored(t *testing.T) {
	t.Parallel()
	c := startCached(t, "max_object_size 100KiB")
	client := c.Client(harness.H1)
	for name, reply := range map[string]origin.Reply{
		"announced": {Body: origin.Pattern(100<<10 + 1)},
		"unknown":   {Body: origin.Pattern(100<<10 + 1), Framing: origin.Chunked},
		"far above": {Body: origin.Pattern(8 << 20), Framing: origin.Chunked, ChunkSize: 100_000},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.in(t)
			path := "/" + harnessPath(name)
			reply.Headers = []string{minute}
			c.origin.Handle(path, reply)
			b := sendTogether(t, client, 8, func(int) *http.Request { return c.request(http.MethodGet, path) })
			for _, got := range b.responses() {
				requireBody(t, reply.Body, got.Body)
			}
			before := c.origin.Stats(path).Arrived
			requireBody(t, reply.Body, c.get(path).Body)
			require.Equal(t, before+1, c.origin.Stats(path).Arrived)
		})
	}
	c.origin.Handle("/fits", origin.Reply{Headers: []string{minute}, Body: origin.Pattern(100 << 10)})
	c.get("/fits")
	require.Contains(t, cacheStatus(c.get("/fits")), "edge; hit")
	require.Equal(t, 1, c.stats().Entries)
}

// A reader that is slower than the others does not hold them up.
func TestSlowReaderDoesNotStallTheCrowd(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	body := origin.Pattern(16 << 20)
	gate := origin.NewGate()
	c.origin.Handle("/big", origin.Reply{Headers: []string{minute}, Body: body, ChunkSize: 1 << 20, HoldChunk: gate})
	client := c.Client(harness.H1)
	gate.Step(1)
	slow, _ := open(t, client, c.request(http.MethodGet, "/big"))
	readN(t, slow.Body, 1)
	b := sendTogether(t, client, 5, func(int) *http.Request { return c.request(http.MethodGet, "/big") })
	gate.Open()
	for _, got := range b.responses() {
		requireBody(t, body, got.Body)
	}
	rest, err := io.ReadAll(slow.Body)
	require.NoError(t, err)
	requireBody(t, body[1:], rest)
	c.requireArrived("/big", 1)
}

// Requests that want a stream have one of their own, at once, whatever the origin allows.
func TestStreamsThatAreAskedForAreNotShared(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	for want, lines := range map[string][]string{
		"event-stream": {"Accept: application/json, text/event-stream;q=0.9"},
		"incremental":  {"Incremental: ?1"},
		"grpc":         {"Content-Type: application/grpc-web+proto"},
	} {
		t.Run(want, func(t *testing.T) {
			c := c.in(t)
			path := "/" + want
			gates := []*origin.Gate{origin.NewGate(), origin.NewGate(), origin.NewGate()}
			c.origin.HandleFunc(path, func(r *origin.Request) origin.Reply {
				return origin.Reply{
					Headers: []string{"Content-Type: text/plain", minute}, Framing: origin.Chunked,
					Body: []byte("onetwo"), ChunkSize: 3, HoldChunk: gates[r.N-1],
				}
			})
			client := c.Client(harness.H1)
			for n := range 2 {
				resp, _ := open(t, client, c.request(http.MethodGet, path, lines...))
				require.Equal(t, "edge; fwd=bypass; detail="+want, resp.Header.Get("Cache-Status"))
				for _, piece := range []string{"one", "two"} {
					gates[n].Step(1)
					require.Equal(t, piece, readN(t, resp.Body, 3), "while the rest is still to come")
				}
			}
			c.requireArrived(path, 2)
			gates[2].Open()
			require.Equal(t, "edge; fwd=uri-miss; stored; ttl=60", cacheStatus(c.get(path)), "nothing of it was stored")
		})
	}
}

// A response that is to be passed on at once is no entry, and is not waited for.
func TestIncrementalResponseIsNotShared(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	gates := []*origin.Gate{origin.NewGate(), origin.NewGate()}
	c.origin.HandleFunc("/feed", func(r *origin.Request) origin.Reply {
		return origin.Reply{
			Headers: []string{minute, "Incremental: ?1"}, Framing: origin.Chunked,
			Body: []byte("onetwo"), ChunkSize: 3, HoldChunk: gates[r.N-1],
		}
	})
	client := c.Client(harness.H1)
	var all []*http.Response
	for range 2 {
		resp, _ := open(t, client, c.request(http.MethodGet, "/feed"))
		require.Equal(t, "edge; fwd=uri-miss; detail=event-stream", resp.Header.Get("Cache-Status"))
		all = append(all, resp)
	}
	for _, piece := range []string{"one", "two"} {
		for n, resp := range all {
			gates[n].Step(1)
			require.Equal(t, piece, readN(t, resp.Body, 3))
		}
	}
	c.requireArrived("/feed", 2)
	require.Zero(t, c.stats().Entries)
}

// A call with messages both ways goes through the cache's handler as it comes.
func TestBidirectionalCallPassesThroughTheCache(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		_ = http.NewResponseController(w).Flush()
		message := make([]byte, 5)
		for {
			if _, err := io.ReadFull(r.Body, message); err != nil {
				break
			}
			_, _ = w.Write(message)
			_ = http.NewResponseController(w).Flush()
		}
		w.Header().Set("Grpc-Status", "0")
	})}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	c := startCaddyfile(t, `
		{
			servers {
				protocols h1 h2 h2c h3
			}
		}
		{{http "site"}}, {{https "secure"}} {
			edge_cache {
				ttl 1h
			}
			reverse_proxy h2c://{{.grpc}}
		}
	`, harness.Vars{"grpc": l.Addr().String()})
	for proto, name := range map[harness.Proto]string{harness.H2C: "site", harness.H2: "secure", harness.H3: "secure"} {
		t.Run(string(proto), func(t *testing.T) {
			out, in := io.Pipe()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.URL(name)+"/pkg.Service/Chat", out)
			require.NoError(t, err)
			req.Header.Set("Content-Type", "application/grpc")
			req.Header.Set("Te", "trailers")
			resp, err := c.Client(proto).Do(req)
			require.NoError(t, err, "the header comes before the first message")
			defer resp.Body.Close()
			for i := range 5 {
				message := fmt.Sprintf("msg %d", i)
				_, err := io.WriteString(in, message)
				require.NoError(t, err)
				require.Equal(t, message, readN(t, resp.Body, 5), "while more are to come")
			}
			require.NoError(t, in.Close())
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			require.Equal(t, "0", resp.Trailer.Get("Grpc-Status"))
			require.Equal(t, "edge; fwd=method", resp.Header.Get("Cache-Status"))
		})
	}
	require.Zero(t, c.stats().Entries)
}

// A WebSocket over HTTP/2 (RFC 8441), which Go's server offers when it is told to, goes
// through the cache as one over HTTP/1.1 does.
func TestWebSocketOverHTTP2PassesThroughTheCache(t *testing.T) {
	t.Setenv("GODEBUG", "http2xconnect=1")
	c := startCached(t, "ttl 1h")
	c.origin.Handle("/socket", origin.Reply{Takeover: func(_ net.Conn, rw *bufio.ReadWriter) {
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		for {
			_ = rw.Flush()
			line, err := rw.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = rw.WriteString("echo " + line)
		}
	}})
	conn := c.Dial("site")
	require.NoError(t, conn.SetDeadline(time.Now().Add(limit)))
	_, err := io.WriteString(conn, http2.ClientPreface)
	require.NoError(t, err)
	framer := http2.NewFramer(conn, conn)
	require.NoError(t, framer.WriteSettings())
	var block strings.Builder
	encoder := hpack.NewEncoder(&block)
	for _, f := range [][2]string{
		{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"}, {":path", "/socket"}, {":authority", c.host()},
		{"sec-websocket-version", "13"},
	} {
		require.NoError(t, encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
	}
	require.NoError(t, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndHeaders: true}))
	// next returns what comes on the stream: the header's status, or data.
	next := func() string {
		t.Helper()
		for {
			frame, err := framer.ReadFrame()
			require.NoError(t, err)
			switch frame := frame.(type) {
			case *http2.HeadersFrame:
				fields, err := hpack.NewDecoder(4096, nil).DecodeFull(frame.HeaderBlockFragment())
				require.NoError(t, err)
				return fields[0].Value
			case *http2.DataFrame:
				return string(frame.Data())
			case *http2.RSTStreamFrame:
				t.Fatalf("the stream was reset: %s", frame.ErrCode)
			}
		}
	}
	require.Equal(t, "200", next())
	for _, word := range []string{"one\n", "two\n"} {
		require.NoError(t, framer.WriteData(1, false, []byte(word)))
		want, got := "echo "+word, ""
		for len(got) < len(want) {
			got += next()
		}
		require.Equal(t, want, got)
	}
	require.NoError(t, conn.Close())
	c.origin.Wait(t, "/socket", func(s origin.Stats) bool { return s.Active == 0 })
	require.Zero(t, c.stats().Entries)
}
