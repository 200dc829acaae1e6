package integration

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// Request smuggling: however a message is framed, nobody gets the answer to
// another's request, and nothing is stored under a target that it does not
// belong to.
func TestAttack_SmugglingShapes(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.HandleFunc("/evil*", func(*origin.Request) origin.Reply { return text(marker, "Cache-Control: max-age=3600") })
	smuggled := "GET /evil HTTP/1.1\r\nHost: " + c.host() + "\r\nX: "
	for i, framing := range []string{
		"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s",
		"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n%s",
		"Content-Length: %d\r\nContent-Length: 0\r\n\r\n%s",
		"Content-Length: 0\r\nContent-Length: %d\r\n\r\n%s",
		"Content-Length: 0, %d\r\n\r\n%s",
		"Content-Length: +%d\r\n\r\n%s",
		"Content-Length : %d\r\n\r\n%s",
		" Content-Length: %d\r\n\r\n%s",
		"Content-Length:\r\n %d\r\n\r\n%s",
		"Content-Length: 0x%x\r\n\r\n%s",
		"Content-Length: %d\r\nTransfer-Encoding: xchunked\r\n\r\n%s",
		"Content-Length: %d\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n%s",
		"Content-Length: %d\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n%s",
		"Content-Length: %d\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n%s",
		"Content-Length: %d\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n%s",
		"Content-Length: %d\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n%s",
		"Content-Length: %d\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n%s",
		"Content-Length: %d\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s",
		"Content-Length: %d\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s",
		"Content_Length: %d\r\n\r\n%s",
		"Content-Length: %d\r\nTransfer_Encoding: chunked\r\n\r\n0\r\n\r\n%s",
		"Content-Length: %d\r\nConnection: Content-Length\r\n\r\n%s",
		"Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\nX-Length: %d\r\n\r\n0\r\n\r\n%s",
		"Transfer-Encoding: chunked\r\nX-Length: %d\r\n\r\n0;a\r\n\r\n%s",
		"Transfer-Encoding: chunked\r\nX-Length: %d\r\n\r\n0\n\n%s",
		"Transfer-Encoding: chunked\r\nX-Length: %d\r\n\r\n00000000000000000\r\n\r\n%s",
		"Transfer-Encoding: chunked\r\nX-Length: %d\r\n\r\n-1\r\n\r\n%s",
		"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n%s",
	} {
		for _, method := range []string{"GET", "POST", "HEAD", "OPTIONS"} {
			t.Run(fmt.Sprintf("%s %d", method, i), func(t *testing.T) {
				c := c.in(t)
				path := fmt.Sprintf("/%s/%d", method, i)
				c.origin.HandleFunc(path, reflection())
				conn := c.Dial("site")
				require.NoError(t, conn.SetDeadline(time.Now().Add(limit)))
				_, err := fmt.Fprintf(conn, method+" "+path+" HTTP/1.1\r\nHost: "+c.host()+"\r\n"+framing, len(smuggled), smuggled)
				require.NoError(t, err)
				// Whatever comes back is the attacker's own; wait for some of it.
				_, _ = bufio.NewReader(conn).ReadByte()
				require.NoError(t, conn.Close())

				for range 3 {
					got := c.get(path)
					require.Equal(t, http.StatusOK, got.Status)
					require.True(t, strings.HasPrefix(string(got.Body), "GET "+path+"\n"), string(got.Body))
					require.NotContains(t, string(got.Body), marker)
				}
			})
		}
	}
}

// Pseudo-header fields that contradict themselves, or hold what belongs into
// other parts of a request.
func TestAttack_HTTP2PseudoHeaders(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	addr := c.host()
	type field = hpack.HeaderField
	for name, fields := range map[string][]field{
		"absolute path":           {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: addr}, {Name: ":path", Value: "http://" + marker + "%s"}},
		"host differs":            {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: addr}, {Name: ":path", Value: "%s"}, {Name: "host", Value: marker}},
		"host only":               {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: "%s"}, {Name: "host", Value: marker}},
		"two authorities":         {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: addr}, {Name: ":authority", Value: marker}, {Name: ":path", Value: "%s"}},
		"user in authority":       {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: marker + "@" + addr}, {Name: ":path", Value: "%s"}},
		"path in authority":       {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: addr + "/" + marker}, {Name: ":path", Value: "%s"}},
		"other scheme":            {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: marker}, {Name: ":authority", Value: addr}, {Name: ":path", Value: "%s"}},
		"url as scheme":           {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http://" + marker + "/"}, {Name: ":authority", Value: addr}, {Name: ":path", Value: "%s"}},
		"two paths":               {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: addr}, {Name: ":path", Value: "/" + marker}, {Name: ":path", Value: "%s"}},
		"two methods":             {{Name: ":method", Value: "GET"}, {Name: ":method", Value: "HEAD"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: addr}, {Name: ":path", Value: "%s"}},
		"line break in path":      {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: addr}, {Name: ":path", Value: "%s HTTP/1.1\r\nX-Evil: " + marker}},
		"space in path":           {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: addr}, {Name: ":path", Value: "%s HTTP/1.1 " + marker}},
		"line break in method":    {{Name: ":method", Value: "GET /" + marker + " HTTP/1.1\r\nX: y"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: addr}, {Name: ":path", Value: "%s"}},
		"line break in a value":   {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: addr}, {Name: ":path", Value: "%s"}, {Name: "x-a", Value: "b\r\nX-Forwarded-Host: " + marker}},
		"line break in a name":    {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: addr}, {Name: ":path", Value: "%s"}, {Name: "x-a: b\r\nx-host", Value: marker}},
		"colon in a name":         {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: addr}, {Name: ":path", Value: "%s"}, {Name: "x-host: " + marker, Value: "x"}},
		"transfer-encoding":       {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: addr}, {Name: ":path", Value: "%s"}, {Name: "transfer-encoding", Value: "chunked"}},
		"connection":              {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: addr}, {Name: ":path", Value: "%s"}, {Name: "connection", Value: marker}},
		"upper case":              {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: addr}, {Name: ":path", Value: "%s"}, {Name: "X-Host", Value: marker}},
		"unknown pseudo header":   {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: addr}, {Name: ":path", Value: "%s"}, {Name: ":evil", Value: marker}},
		"late pseudo header":      {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: addr}, {Name: "x-a", Value: "b"}, {Name: ":path", Value: "%s"}},
		"path without slash":      {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: addr}, {Name: ":path", Value: marker + "%s"}},
		"empty path":              {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: addr}, {Name: ":path", Value: ""}, {Name: "x-host", Value: marker + "%s"}},
		"content-length too long": {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: addr}, {Name: ":path", Value: "%s"}, {Name: "content-length", Value: "12"}},
		"cookie crumbs":           {{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: addr}, {Name: ":path", Value: "%s"}, {Name: "cookie", Value: "a=1"}, {Name: "x-forwarded-host", Value: marker}},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.in(t)
			path := "/" + harnessPath(name)
			c.origin.HandleFunc(path, reflection())
			c.sendHTTP2(path, fields)
			c.requireUnpoisoned(path)
			require.True(t, strings.HasPrefix(string(c.get(path).Body), "GET "+path+"\nHost: "+addr+"\n"))
		})
	}
}

// sendHTTP2 sends one request with header fields that no client library would
// send, and waits for its end.
func (c *cachedEdge) sendHTTP2(path string, fields []hpack.HeaderField) {
	c.t.Helper()
	conn := c.Dial("site")
	defer conn.Close()
	require.NoError(c.t, conn.SetDeadline(time.Now().Add(limit)))
	_, err := io.WriteString(conn, http2.ClientPreface)
	require.NoError(c.t, err)
	framer := http2.NewFramer(conn, conn)
	require.NoError(c.t, framer.WriteSettings())
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range fields {
		f.Value = strings.Replace(f.Value, "%s", path, 1)
		require.NoError(c.t, enc.WriteField(f))
	}
	require.NoError(c.t, framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true,
	}))
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return // the connection was refused
		}
		switch f := frame.(type) {
		case *http2.GoAwayFrame, *http2.RSTStreamFrame:
			return
		case *http2.HeadersFrame:
			if f.StreamEnded() {
				return
			}
		case *http2.DataFrame:
			if f.StreamEnded() {
				return
			}
		}
	}
}
