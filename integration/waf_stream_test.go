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

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// streamSites are sites with the firewall in each form that streams meet, and one without.
const streamSites = `
	{
		servers {
			protocols h1 h2 h2c h3
		}
	}
	(origins) {
		log
		reverse_proxy /pkg.Service/* h2c://{{.echo}}
		reverse_proxy /trailers-of-requests {{.trailers}}
		reverse_proxy {{.origin}}
	}
	{{http "none"}}, {{https "none-secure"}} {
		import origins
	}
	{{http "requests"}}, {{https "requests-secure"}} {
		edge_waf {
			crs {
				preset grpc
			}
		}
		import origins
	}
	{{http "responses"}}, {{https "responses-secure"}} {
		edge_waf {
			name responses
			crs {
				preset grpc
			}
			response
		}
		import origins
	}
`

// TestWafStreams: nothing that streams is changed, or waits for what comes next.
func TestWafStreams(t *testing.T) {
	t.Parallel()
	requests := make(chan string, 1)
	c := startCaddyfile(t, streamSites, harness.Vars{"echo": startEcho(t), "trailers": startTrailerEcho(t, requests)})
	without := lookAtTrailers(t, c, "none", requests)
	require.Equal(t, "7", without[harness.H1].announced)
	require.Len(t, without[harness.H2].hints, 2)
	for _, site := range []string{"requests", "responses"} {
		t.Run(site, func(t *testing.T) {
			t.Run("websocket", func(t *testing.T) { passWebSocket(t, c.in(t), site) })
			t.Run("events", func(t *testing.T) { passEvents(t, c.in(t), site) })
			t.Run("messages", func(t *testing.T) { passMessages(t, c.in(t), site) })
			t.Run("trailers", func(t *testing.T) { require.Equal(t, without, lookAtTrailers(t, c.in(t), site, requests)) })
		})
	}
}

// polite are fields that a client has.
var polite = []string{"Accept: */*", "User-Agent: test"}

// within runs what may hang when something is held back.
func within(t *testing.T, what string, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		require.NoError(t, err, what)
	case <-time.After(limit):
		t.Fatalf("not within %s: %s", limit, what)
	}
}

// passWebSocket: messages pass in both directions.
func passWebSocket(t *testing.T, c *cachedEdge, site string) {
	path := "/socket/" + site
	c.origin.Handle(path, switching("websocket"))
	conn := c.Dial(site)
	require.NoError(t, conn.SetDeadline(time.Now().Add(limit)))
	s := &session{t, conn, bufio.NewReader(conn), strings.TrimPrefix(c.URL(site), "http://")}
	s.send("GET " + path + " HTTP/1.1\r\nHost: SITE\r\nAccept: */*\r\nUser-Agent: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	resp, err := http.ReadResponse(s.reader, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	for _, line := range []string{"hello\n", "1' union select password from users--\n", strings.Repeat("x", 200_000) + "\n"} {
		s.send(line)
		got, err := s.reader.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, line, got)
	}
	require.NoError(t, conn.Close())
	entry := c.WaitLog(isAccess(path))
	require.InDelta(t, http.StatusSwitchingProtocols, entry["status"], 0)
}

// passEvents: what the origin sends arrives before it sends more, over each protocol, where
// the rules don't look at responses of its type.
func passEvents(t *testing.T, c *cachedEdge, site string) {
	types := []string{"text/event-stream", "application/octet-stream", "video/mp4"}
	if site == "requests" {
		types = append(types, "text/html", "application/json")
	}
	for _, kind := range types {
		harness.EachTLS(t, func(t *testing.T, p harness.Proto) {
			c := c.in(t)
			path := fmt.Sprintf("/%s/%s/%s", site, kind, p)
			gate := origin.NewGate()
			c.origin.Handle(path, origin.Reply{
				Headers: []string{"Content-Type: " + kind}, Framing: origin.Chunked,
				Body: []byte("data: 1\n\ndata: 2\n\ndata: 3\n\n"), ChunkSize: 9, HoldChunk: gate,
			})
			req, err := harness.NewRequest(http.MethodGet, c.URL(site+"-secure")+path, "", polite...)
			require.NoError(t, err)
			gate.Step(1) // the header may come with the first part
			var resp *http.Response
			within(t, "the header", func() (err error) {
				resp, err = c.Client(p).Do(req)
				return err
			})
			defer resp.Body.Close()
			for i := 1; i <= 3; i++ {
				if i > 1 {
					gate.Step(1)
				}
				within(t, fmt.Sprintf("event %d of %s", i, path), func() error {
					return expect(resp.Body, fmt.Sprintf("data: %d\n\n", i))
				})
			}
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
		})
	}
}

// expect reads a text.
func expect(r io.Reader, want string) error {
	b := make([]byte, len(want))
	_, err := io.ReadFull(r, b)
	if err == nil && string(b) != want {
		err = fmt.Errorf("got %q instead of %q", b, want)
	}
	return err
}

// startEcho starts a server that sends back each message as it comes, over HTTP/2 without
// TLS, and ends with a trailer.
func startEcho(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		control := http.NewResponseController(w)
		_ = control.Flush()
		b := make([]byte, 4096)
		for {
			n, err := r.Body.Read(b)
			if n > 0 {
				_, _ = w.Write(b[:n])
				_ = control.Flush()
			}
			if err != nil {
				break
			}
		}
		w.Header().Set("Grpc-Status", "0")
	})}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return l.Addr().String()
}

// passMessages: each message of a client is answered before it sends the next.
func passMessages(t *testing.T, c *cachedEdge, site string) {
	for p, name := range map[harness.Proto]string{harness.H2: site + "-secure", harness.H2C: site, harness.H3: site + "-secure"} {
		t.Run(string(p), func(t *testing.T) {
			read, write := io.Pipe()
			req, err := harness.NewRequest(http.MethodPost, c.URL(name)+"/pkg.Service/Chat", "", append(polite, "Content-Type: application/grpc", "TE: trailers")...)
			require.NoError(t, err)
			req.Body, req.ContentLength = read, -1
			resp, _ := open(t, c.Client(p), req)
			require.Equal(t, http.StatusOK, resp.StatusCode)
			for _, message := range []string{"\x00\x00\x00\x00\x05hello", "\x00\x00\x00\x00\x07<script"} {
				within(t, "the answer", func() error {
					if _, err := io.WriteString(write, message); err != nil {
						return err
					}
					return expect(resp.Body, message)
				})
			}
			require.NoError(t, write.Close())
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			require.Equal(t, "0", resp.Trailer.Get("Grpc-Status"))
		})
	}
}

// seenBeside is what comes beside the content.
type seenBeside struct {
	announced, unannounced, body, request string
	hints                                 []string
}

// lookAtTrailers returns what a site hands on of trailers and early hints.
func lookAtTrailers(t *testing.T, c *cachedEdge, site string, requests <-chan string) map[harness.Proto]seenBeside {
	t.Helper()
	c.origin.Handle("/trailers", origin.Reply{Takeover: func(_ net.Conn, rw *bufio.ReadWriter) {
		_, _ = rw.WriteString("HTTP/1.1 200 OK\r\nContent-Type: application/x-data\r\nConnection: close\r\nTrailer: X-Announced\r\nTransfer-Encoding: chunked\r\n\r\n" +
			"5\r\nwhole\r\n0\r\nX-Announced: 7\r\nX-Unannounced: 8\r\n\r\n")
		_ = rw.Flush()
	}})
	c.origin.Handle("/hints", origin.Reply{
		Headers: []string{"Content-Type: text/html"}, Body: []byte("<p>page</p>"),
		Interim: []origin.Interim{{Status: 103, Headers: []string{"Link: </a.css>; rel=preload"}}, {Status: 103, Headers: []string{"Link: </b.css>; rel=preload"}}},
	})
	all := make(map[harness.Proto]seenBeside)
	for _, p := range []harness.Proto{harness.H1, harness.H2, harness.H3} {
		var s seenBeside
		url := c.URL(site + "-secure")
		got := c.Get(p, url+"/trailers", polite...)
		s.announced, s.unannounced, s.body = got.Trailer.Get("X-Announced"), got.Trailer.Get("X-Unannounced"), string(got.Body)
		if p != harness.H3 { // whose client tells of no hints
			got = c.Get(p, url+"/hints", polite...)
			for _, i := range got.Interim {
				s.hints = append(s.hints, i.Header.Get("Link"))
			}
			require.Equal(t, "<p>page</p>", string(got.Body))
		}
		req, err := harness.NewRequest(http.MethodPost, url+"/trailers-of-requests", "", append(polite, plainText)...)
		require.NoError(t, err)
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader("ordinary")), -1
		req.Trailer = http.Header{"X-Sum": {"9"}}
		got, err = harness.Send(c.Client(p), req)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, got.Status)
		s.request = <-requests
		all[p] = s
	}
	return all
}

// startTrailerEcho starts a server that tells of each request its content and trailers.
func startTrailerEcho(t *testing.T, requests chan<- string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		requests <- fmt.Sprintf("%s %v", content, r.Trailer)
	})}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return l.Addr().String()
}
