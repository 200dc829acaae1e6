package integration

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// guardedSite is one site with edge_guard, or whatever is given, in front of the origin,
// and more directives between. Clients from 127.0.0.2 are trusted proxies.
const guardedSite = `
	{
		servers {
			protocols h1 h2 h2c h3
			trusted_proxies static 127.0.0.2/32
		}
	}
	{{http "site"}}, http://:{{port "site"}}, {{https "secure"}} {
		log
		{{.guard}}
		{{.more}}
		reverse_proxy {{.origin}}
	}
`

// startGuarded starts a site with the given directives. The origin answers all paths
// that a test doesn't script.
func startGuarded(t *testing.T, guard, more string) *cachedEdge {
	t.Helper()
	c := startCaddyfile(t, guardedSite, harness.Vars{"guard": guard, "more": more})
	c.origin.Handle("*", text("ok"))
	return c
}

// session is a connection of a client that sends what no library would.
type session struct {
	t      *testing.T
	conn   io.ReadWriter
	reader *bufio.Reader
	host   string
}

// open connects to the site.
func (c *cachedEdge) open() *session {
	c.t.Helper()
	conn := c.Dial("site")
	require.NoError(c.t, conn.SetDeadline(time.Now().Add(limit)))
	return &session{c.t, conn, bufio.NewReader(conn), c.host()}
}

// send sends bytes as they are, but for SITE, which stands for the host. That the edge
// has closed the connection by then shows when the response is read.
func (s *session) send(text string) {
	s.t.Helper()
	_, _ = io.WriteString(s.conn, strings.ReplaceAll(text, "SITE", s.host))
}

// next reads a response, nil if the connection is closed instead.
func (s *session) next() *http.Response {
	s.t.Helper()
	resp, err := http.ReadResponse(s.reader, nil)
	if err != nil {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	resp.Body = io.NopCloser(strings.NewReader(string(body)))
	return resp
}

// arrived returns the requests that reached the origin since the last call.
func (c *cachedEdge) arrived() []*origin.Request {
	all := c.origin.Requests("")
	c.origin.Forget()
	return all
}
