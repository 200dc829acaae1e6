package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// limit ends every wait of these tests; it is far beyond what a correct edge
// needs even with the race detector on a busy machine.
const limit = 20 * time.Second

// cachedSite is one site with edge_cache in front of the origin.
const cachedSite = `
	{
		edge {
			memory {{.memory}}
		}
		servers {
			protocols h1 h2 h2c h3
		}
	}
	{{http "site"}} {
		edge_cache {
			{{.options}}
		}
		reverse_proxy {{.origin}}
	}
`

// cachedEdge is an edge with a cache and the origin behind it.
type cachedEdge struct {
	*harness.Edge
	t      *testing.T
	origin *origin.Origin
}

// startCached starts a site whose edge_cache has the given option lines.
func startCached(t *testing.T, options string) *cachedEdge {
	t.Helper()
	return startCaddyfile(t, cachedSite, harness.Vars{"options": options, "memory": "64MiB"})
}

// startCaddyfile starts a Caddyfile whose site is named "site", with the
// origin's address as {{.origin}}.
func startCaddyfile(t *testing.T, caddyfile string, vars harness.Vars) *cachedEdge {
	t.Helper()
	o := origin.Start(t)
	e := harness.Start(t, caddyfile, vars, harness.Vars{"origin": o.Addr()})
	return &cachedEdge{Edge: e, t: t, origin: o}
}

// in returns the edge for a subtest, so that this one fails and not its parent.
func (c *cachedEdge) in(t *testing.T) *cachedEdge {
	d := *c
	d.t = t
	return &d
}

// get fetches a path of the site over HTTP/1.1.
func (c *cachedEdge) get(path string, lines ...string) *harness.Response {
	c.t.Helper()
	return c.Get(harness.H1, c.URL("site")+path, lines...)
}

// do is get for any method, with a body.
func (c *cachedEdge) do(method, path, body string, lines ...string) *harness.Response {
	c.t.Helper()
	return c.Do(harness.H1, method, c.URL("site")+path, body, lines...)
}

// request makes a request for a path of the site.
func (c *cachedEdge) request(method, path string, lines ...string) *http.Request {
	c.t.Helper()
	req, err := harness.NewRequest(method, c.URL("site")+path, "", lines...)
	require.NoError(c.t, err)
	return req
}

// host is what clients send as Host.
func (c *cachedEdge) host() string {
	_, addr, _ := strings.Cut(c.URL("site"), "://")
	return addr
}

// raw sends bytes as they are, but for SITE, which stands for what clients send
// as Host, and reads the first response.
func (c *cachedEdge) raw(request string) (*http.Response, string, error) {
	c.t.Helper()
	request = strings.ReplaceAll(request, "SITE", c.host())
	conn := c.Dial("site")
	defer conn.Close()
	require.NoError(c.t, conn.SetDeadline(time.Now().Add(limit)))
	_, err := io.WriteString(conn, request)
	require.NoError(c.t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// requireArrived checks how many requests for a path reached the origin so far.
func (c *cachedEdge) requireArrived(path string, n int) {
	c.t.Helper()
	require.Equal(c.t, n, c.origin.Stats(path).Arrived, "requests for %s at the origin", path)
}

// storeStats are the numbers of the admin endpoint that tests look at.
type storeStats struct {
	Entries                       int
	Bytes, Reserved, Peak, Budget int64
	Outstanding                   int `json:"purges_outstanding"`
}

func (c *cachedEdge) stats() storeStats {
	c.t.Helper()
	status, body := c.Admin(http.MethodGet, "/edge/cache/stats", nil)
	require.Equal(c.t, http.StatusOK, status, string(body))
	var s storeStats
	require.NoError(c.t, json.Unmarshal(body, &s))
	return s
}

// poll looks until done is true. It fails the test when that takes too long.
func poll(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); !done(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

// outcome is how one of several requests at once ended.
type outcome struct {
	got *harness.Response
	err error
}

// batch is a number of requests that are under way at once.
type batch struct {
	t        *testing.T
	wrote    chan struct{}
	done     sync.WaitGroup
	outcomes []outcome
}

// sendTogether starts n requests, each with connections of the shared client,
// and returns when all of them have been written to the edge.
func sendTogether(t *testing.T, client *http.Client, n int, request func(i int) *http.Request) *batch {
	t.Helper()
	b := &batch{t: t, wrote: make(chan struct{}, n), outcomes: make([]outcome, n)}
	trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { b.wrote <- struct{}{} }}
	for i := range n {
		req := request(i)
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
		b.done.Go(func() { b.outcomes[i].got, b.outcomes[i].err = harness.Send(client, req) })
	}
	end := time.After(limit)
	for range n {
		select {
		case <-b.wrote:
		case <-end:
			t.Fatalf("%d requests could not be sent within %s", n, limit)
		}
	}
	return b
}

// wait returns the outcomes when all requests have ended.
func (b *batch) wait() []outcome {
	b.done.Wait()
	return b.outcomes
}

// responses is wait for requests that must all succeed.
func (b *batch) responses() []*harness.Response {
	b.t.Helper()
	var all []*harness.Response
	for i, o := range b.wait() {
		require.NoError(b.t, o.err, "request %d", i)
		all = append(all, o.got)
	}
	return all
}

// open sends a request and returns its response with the body unread. The
// request ends with the returned function, at the latest with the test.
func open(t *testing.T, client *http.Client, req *http.Request) (*http.Response, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(req.Context())
	resp, err := client.Do(req.WithContext(ctx))
	if err != nil {
		cancel()
		t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	t.Cleanup(func() {
		cancel()
		resp.Body.Close()
	})
	return resp, cancel
}

// readN reads exactly n bytes of a body.
func readN(t *testing.T, body io.Reader, n int) string {
	t.Helper()
	b := make([]byte, n)
	_, err := io.ReadFull(body, b)
	require.NoError(t, err)
	return string(b)
}

// text is a 200 reply.
func text(body string, lines ...string) origin.Reply {
	return origin.Reply{Headers: append([]string{"Content-Type: text/plain"}, lines...), Body: []byte(body)}
}

// numbered answers each request with its ordinal, so that a stored response can
// be told from a new one.
func numbered(lines ...string) origin.Func {
	return func(r *origin.Request) origin.Reply { return text(fmt.Sprintf("answer %d", r.N), lines...) }
}

const minute = "Cache-Control: max-age=60"

// cacheStatus is what the edge says it did.
func cacheStatus(got *harness.Response) string { return got.Header.Get("Cache-Status") }

// requireBody compares large bodies without printing them.
func requireBody(t *testing.T, want, got []byte) {
	t.Helper()
	if !bytes.Equal(want, got) {
		t.Fatalf("the body differs: %d bytes are wanted and %d arrived", len(want), len(got))
	}
}
