package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

const crowd = 50

func TestCollapseOneFetchForACrowd(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	gate := origin.NewGate()
	body := origin.Pattern(300_000)
	c.origin.Handle("/page", origin.Reply{Headers: []string{minute}, Body: body, HoldHeader: gate, ChunkSize: 70_000})
	b := sendTogether(t, c.Client(harness.H1), 500, func(int) *http.Request { return c.request(http.MethodGet, "/page") })
	gate.Open()
	for _, got := range b.responses() {
		require.Equal(t, body, got.Body)
	}
	c.requireArrived("/page", 1)
}

func TestCollapseNoStoreGivesEachClientItsOwn(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	gate := origin.NewGate()
	c.origin.HandleFunc("/page", func(r *origin.Request) origin.Reply {
		reply := text(r.Header.Get("X-Nonce"), "Cache-Control: no-store")
		reply.HoldHeader = gate
		return reply
	})
	client := c.Client(harness.H1)
	request := func(i int) *http.Request {
		return c.request(http.MethodGet, "/page", "X-Nonce: "+strconv.Itoa(i))
	}
	cold := sendTogether(t, client, crowd, request)
	gate.Open()
	for i, got := range cold.responses() {
		require.Equal(t, strconv.Itoa(i), string(got.Body))
	}
	c.requireArrived("/page", crowd)

	// The key is known not to be shareable now: nobody waits for anybody.
	again := origin.NewGate()
	c.origin.HandleFunc("/page", func(r *origin.Request) origin.Reply {
		reply := text(r.Header.Get("X-Nonce"), "Cache-Control: no-store")
		reply.HoldHeader = again
		return reply
	})
	known := sendTogether(t, client, crowd, request)
	c.origin.WaitActive(t, "/page", crowd)
	again.Open()
	for i, got := range known.responses() {
		require.Equal(t, strconv.Itoa(i), string(got.Body))
	}
	c.requireArrived("/page", 2*crowd)
}

func TestCollapsePerVariant(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	gate := origin.NewGate()
	c.origin.HandleFunc("/page", func(r *origin.Request) origin.Reply {
		reply := text("kind "+r.Header.Get("X-Kind"), minute, "Vary: X-Kind")
		reply.HoldHeader = gate
		return reply
	})
	b := sendTogether(t, c.Client(harness.H1), crowd, func(i int) *http.Request {
		return c.request(http.MethodGet, "/page", fmt.Sprintf("X-Kind: %d", i%5))
	})
	gate.Open()
	for i, got := range b.responses() {
		require.Equal(t, fmt.Sprintf("kind %d", i%5), string(got.Body))
	}
	c.requireArrived("/page", 5)
}

func TestCollapseErrorsKeepStatusAndBody(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	client := c.Client(harness.H1)
	for _, code := range []int{400, 401, 403, 404, 410, 429, 451, 500, 502, 503, 504, 599} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			c := c.in(t)
			path := fmt.Sprintf("/error/%d", code)
			gate := origin.NewGate()
			body := fmt.Sprintf("this is error %d\n%s", code, origin.Pattern(5000))
			c.origin.Handle(path, origin.Reply{Status: code, Headers: []string{"Retry-After: 7"}, Body: []byte(body), HoldHeader: gate})
			b := sendTogether(t, client, crowd, func(int) *http.Request { return c.request(http.MethodGet, path) })
			gate.Open()
			for _, got := range b.responses() {
				require.Equal(t, code, got.Status)
				require.Equal(t, body, string(got.Body))
				require.Equal(t, "7", got.Header.Get("Retry-After"))
			}
		})
	}
	require.Zero(t, c.stats().Entries)
}

func TestCollapseCacheableErrorIsFetchedOnce(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	gate := origin.NewGate()
	c.origin.Handle("/gone", origin.Reply{Status: 404, Headers: []string{minute}, Body: []byte("gone"), HoldHeader: gate})
	b := sendTogether(t, c.Client(harness.H1), crowd, func(int) *http.Request { return c.request(http.MethodGet, "/gone") })
	gate.Open()
	for _, got := range b.responses() {
		require.Equal(t, 404, got.Status)
		require.Equal(t, "gone", string(got.Body))
	}
	c.requireArrived("/gone", 1)
}

func TestCollapseReturnedErrorIsRenderedForEachClient(t *testing.T) {
	t.Parallel()
	c := startCaddyfile(t, `
		{{http "site"}} {
			edge_cache
			reverse_proxy {{.origin}}
			handle_errors {
				header X-Client {http.request.header.X-Client}
				respond "error {err.status_code} for {http.request.header.X-Client}" {err.status_code}
			}
		}
	`, nil)
	client := c.Client(harness.H1)
	c.origin.Handle("/reset", origin.Reply{Raw: []byte{}, Ending: origin.Reset})
	check := func(path string) {
		b := sendTogether(t, client, crowd, func(i int) *http.Request {
			return c.request(http.MethodGet, path, "X-Client: "+strconv.Itoa(i))
		})
		for i, got := range b.responses() {
			require.Equal(t, http.StatusBadGateway, got.Status)
			require.Equal(t, fmt.Sprintf("error 502 for %d", i), string(got.Body))
			require.Equal(t, []string{strconv.Itoa(i)}, got.Header["X-Client"])
		}
	}
	check("/reset")
	c.origin.Close()
	check("/dial")
}

func TestCollapseFirstClientLeavesASlowStream(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	client := c.Client(harness.H1)
	const size, chunk = 4 << 20, 256 << 10
	body := origin.Pattern(size)
	for _, framing := range []origin.Framing{origin.ByLength, origin.Chunked} {
		t.Run(fmt.Sprint(framing), func(t *testing.T) {
			c := c.in(t)
			path := fmt.Sprintf("/%d", framing)
			gate := origin.NewGate()
			c.origin.Handle(path, origin.Reply{Headers: []string{minute}, Body: body, ChunkSize: chunk, HoldChunk: gate, Framing: framing})
			gate.Step(4)
			first, leave := open(t, client, c.request(http.MethodGet, path))
			readN(t, first.Body, chunk)
			joiner, _ := open(t, client, c.request(http.MethodGet, path))
			require.Equal(t, string(body[:4*chunk]), readN(t, joiner.Body, 4*chunk))
			leave()
			_, err := io.Copy(io.Discard, first.Body)
			require.ErrorIs(t, err, context.Canceled)
			gate.Open()
			rest, err := io.ReadAll(joiner.Body)
			require.NoError(t, err)
			require.Equal(t, body[4*chunk:], rest)
			require.Equal(t, body, c.get(path).Body)
			c.requireArrived(path, 1)
		})
	}
}

func TestCollapseOff(t *testing.T) {
	t.Parallel()
	c := startCached(t, "collapse off")
	gate := origin.NewGate()
	c.origin.HandleFunc("/page", func(r *origin.Request) origin.Reply {
		reply := numbered(minute)(r)
		reply.HoldHeader = gate
		return reply
	})
	b := sendTogether(t, c.Client(harness.H1), 10, func(int) *http.Request { return c.request(http.MethodGet, "/page") })
	c.origin.WaitActive(t, "/page", 10)
	gate.Open()
	seen := make(map[string]bool)
	for _, got := range b.responses() {
		seen[string(got.Body)] = true
	}
	require.Len(t, seen, 10)
	require.Contains(t, cacheStatus(c.get("/page")), "edge; hit")
}

func TestCollapseWaiters(t *testing.T) {
	t.Parallel()
	c := startCached(t, `collapse {
				waiters 3
			}`)
	gate := origin.NewGate()
	reply := text("page", minute)
	reply.HoldHeader = gate
	c.origin.Handle("/page", reply)
	b := sendTogether(t, c.Client(harness.H1), 9, func(int) *http.Request { return c.request(http.MethodGet, "/page") })
	c.origin.WaitActive(t, "/page", 3)
	gate.Open()
	for _, got := range b.responses() {
		require.Equal(t, "page", string(got.Body))
	}
	c.requireArrived("/page", 3)
}

func TestCollapseTimeout(t *testing.T) {
	t.Parallel()
	c := startCached(t, `collapse {
				timeout 100ms
			}`)
	gate := origin.NewGate()
	reply := text("page", minute)
	reply.HoldHeader = gate
	c.origin.Handle("/page", reply)
	b := sendTogether(t, c.Client(harness.H1), 5, func(int) *http.Request { return c.request(http.MethodGet, "/page") })
	c.origin.WaitActive(t, "/page", 5)
	gate.Open()
	for _, got := range b.responses() {
		require.Equal(t, "page", string(got.Body))
	}
}

func TestFetchTimeout(t *testing.T) {
	t.Parallel()
	c := startCached(t, "fetch_timeout 300ms")
	gate := origin.NewGate()
	reply := text("page", minute)
	reply.HoldHeader = gate
	c.origin.Handle("/page", reply)
	b := sendTogether(t, c.Client(harness.H1), 5, func(int) *http.Request { return c.request(http.MethodGet, "/page") })
	for _, got := range b.responses() {
		require.Equal(t, http.StatusGatewayTimeout, got.Status)
	}
	c.origin.WaitAborted(t, "/page", 1)
	require.Zero(t, c.stats().Entries)
}

func TestPurgeDuringAFetch(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	client := c.Client(harness.H1)
	gate := origin.NewGate()
	c.origin.HandleFunc("/page", func(r *origin.Request) origin.Reply {
		reply := numbered(minute)(r)
		if r.N == 1 {
			reply.HoldHeader = gate
		}
		return reply
	})
	before := sendTogether(t, client, 1, func(int) *http.Request { return c.request(http.MethodGet, "/page") })
	c.origin.WaitArrived(t, "/page", 1)
	status, _ := c.Admin(http.MethodPost, "/edge/cache/purge", map[string]string{"url": c.URL("site") + "/page"})
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "answer 2", string(c.get("/page").Body), "who comes after the purge gets what was fetched after it")
	gate.Open()
	require.Equal(t, "answer 1", string(before.responses()[0].Body))
	got := c.get("/page")
	require.Equal(t, "answer 2", string(got.Body), "what was fetched before the purge is not stored over the newer")
	require.True(t, strings.HasPrefix(cacheStatus(got), "edge; hit"))
}
