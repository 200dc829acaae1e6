package integration

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// TestGuardHopByHopAbuse has clients nominate fields that others rely on.
func TestGuardHopByHopAbuse(t *testing.T) {
	t.Parallel()
	const edgeSet = `request_header X-Authenticated-User bob`
	fields := []string{
		"Cookie: session=1", "Authorization: Basic eDp5", "Range: bytes=0-1", "If-None-Match: \"x\"", "Cache-Control: no-cache", "Content-Type: text/plain",
		"X-Forwarded-Proto: https", "Forwarded: for=192.0.2.1", "Origin: https://a.example", "User-Agent: test",
	}
	send := func(c *cachedEdge, connection ...string) *origin.Request {
		c.t.Helper()
		s := c.open()
		s.send("GET /page HTTP/1.1\r\nHost: SITE\r\n" + strings.Join(connection, "\r\n") + "\r\nX-Mine: 1\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n")
		resp := s.next()
		require.NotNil(c.t, resp)
		require.Equal(c.t, http.StatusOK, resp.StatusCode)
		all := c.arrived()
		require.Len(c.t, all, 1)
		return all[0]
	}
	names := "X-Authenticated-User, X-Request-Id, X-Forwarded-For, X-Forwarded-Host"
	for _, f := range fields {
		name, _, _ := strings.Cut(f, ":")
		names += ", " + strings.ToLower(name)
	}
	c := startGuarded(t, "edge_guard", edgeSet)
	for _, connection := range [][]string{
		{"Connection: close, " + names}, {"Connection: keep-alive", "Connection: " + names}, {"connection:" + names + ",Upgrade", "Upgrade: nothing"}, {"Connection: ,,\t" + names + " ,te"},
	} {
		got := send(c, connection...)
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			if name == "Forwarded" || name == "X-Forwarded-Proto" {
				continue // Caddy drops or sets these itself, as the client is no trusted proxy
			}
			require.Equal(t, value, got.Header.Get(name), "%s with %s", name, connection)
		}
		require.Equal(t, "bob", got.Header.Get("X-Authenticated-User"))
		require.NotEmpty(t, got.Header.Get("X-Request-Id"))
		require.NotEmpty(t, got.Header.Get("X-Forwarded-For"))
		require.NotEmpty(t, got.Header.Get("X-Forwarded-Host"))
	}
	require.Empty(t, send(c, "Connection: X-Mine").Header.Get("X-Mine"), "what nobody else needs goes, as the client wants")
	require.Equal(t, "1", send(c, "Connection: close").Header.Get("X-Mine"))

	// Without the guard the proxy drops them.
	open := startGuarded(t, "", edgeSet)
	got := send(open, "Connection: close, "+names)
	require.Empty(t, got.Header.Get("Cookie"))
	require.Empty(t, got.Header.Get("X-Authenticated-User"))
}

// switching switches protocols and sends back what comes.
func switching(protocol string) origin.Reply {
	return origin.Reply{Takeover: func(_ net.Conn, rw *bufio.ReadWriter) {
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n\r\n")
		for rw.Flush() == nil {
			line, err := rw.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = rw.WriteString(line)
		}
	}}
}

// TestGuardUpgrades: WebSockets and tunnels pass, also when the client nominates more, and
// with a security header that a switch must not have.
func TestGuardUpgrades(t *testing.T) {
	t.Parallel()
	c := startGuarded(t, "edge_guard {\nsecurity_headers\nmax_body 10\n}", "")
	for protocol, connection := range map[string]string{"websocket": "keep-alive, Upgrade, cookie", "edge-tunnel/1": "upgrade"} {
		path := "/switch-" + strings.TrimSuffix(protocol, "/1")
		c.origin.Handle(path, switching(protocol))
		s := c.open()
		s.send("GET " + path + " HTTP/1.1\r\nHost: SITE\r\nConnection: " + connection + "\r\nUpgrade: " + protocol +
			"\r\nCookie: a=b\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		resp, err := http.ReadResponse(s.reader, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
		require.Equal(t, protocol, resp.Header.Get("Upgrade"))
		require.Equal(t, "Upgrade", resp.Header.Get("Connection"))
		require.Empty(t, resp.Header.Get("X-Frame-Options"))
		for _, line := range []string{"hello\n", strings.Repeat("x", 5000) + "\n"} {
			s.send(line)
			got, err := s.reader.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, line, got)
		}
		require.Equal(t, "a=b", c.origin.Requests(path)[0].Header.Get("Cookie"))
		require.NoError(t, s.conn.(io.Closer).Close())
	}
	s := c.open()
	s.send("GET / HTTP/1.1\r\nHost: SITE\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n")
	resp := s.next()
	require.NotNil(t, resp)
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	require.InDelta(t, 1, c.Metrics()[`caddy_edge_guard_checks_total{action="refused",check="h2c"}`], 0)
}

// TestGuardServesHTTP2: what HTTP/2 does not have is no obstacle.
func TestGuardServesHTTP2(t *testing.T) {
	t.Parallel()
	c := startGuarded(t, "edge_guard", "")
	harness.EachTLS(t, func(t *testing.T, p harness.Proto) {
		got := c.in(t).Do(p, http.MethodPost, c.URL("secure")+"/form", "a=b", "Content-Type: application/x-www-form-urlencoded")
		require.Equal(t, http.StatusOK, got.Status)
		require.NotEmpty(t, got.Header.Get("X-Request-Id"))
	})
}
