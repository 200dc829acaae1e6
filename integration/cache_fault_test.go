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

// The tests in this file are named after faults that other edge proxies had.

func TestFault_OneResponseSharedAmongCollapsedClients(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	client := c.Client(harness.H1)
	for name, lines := range map[string][]string{
		"private":         {"Cache-Control: private, max-age=60"},
		"no-store":        {"Cache-Control: no-store"},
		"set-cookie":      {minute, "Set-Cookie: session=1"},
		"vary-star":       {minute, "Vary: *"},
		"no-freshness":    nil,
		"unparsable":      {"Cache-Control: max-age=abc"},
		"zero":            {"Cache-Control: max-age=0"},
		"expires-invalid": {"Expires: 0"},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.in(t)
			const clients = 20
			path := "/" + name
			gate := origin.NewGate()
			c.origin.HandleFunc(path, func(r *origin.Request) origin.Reply {
				reply := text("for "+r.Header.Get("X-Client"), lines...)
				reply.HoldHeader = gate
				return reply
			})
			b := sendTogether(t, client, clients, func(i int) *http.Request {
				return c.request(http.MethodGet, path, "X-Client: "+strconv.Itoa(i))
			})
			gate.Open()
			for i, got := range b.responses() {
				require.Equal(t, fmt.Sprintf("for %d", i), string(got.Body))
			}
			require.Equal(t, clients, c.origin.Stats(path).Arrived)
		})
	}
	require.Zero(t, c.stats().Entries)
}

func TestFault_AuthorizedResponseSharedAmongCollapsedClients(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	gate := origin.NewGate()
	c.origin.HandleFunc("/account", func(r *origin.Request) origin.Reply {
		reply := text("for "+r.Header.Get("Authorization"), minute)
		reply.HoldHeader = gate
		return reply
	})
	b := sendTogether(t, c.Client(harness.H1), 20, func(i int) *http.Request {
		return c.request(http.MethodGet, "/account", "Authorization: Bearer "+strconv.Itoa(i))
	})
	gate.Open()
	for i, got := range b.responses() {
		require.Equal(t, fmt.Sprintf("for Bearer %d", i), string(got.Body))
	}
	require.Equal(t, "for ", string(c.get("/account").Body))
}

func TestFault_FlightDiesWithItsFirstClient(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	client := c.Client(harness.H1)
	gate := origin.NewGate()
	c.origin.Handle("/page", origin.Reply{Headers: []string{minute}, Body: origin.Pattern(10_000), HoldHeader: gate})

	ctx, leave := context.WithCancel(t.Context())
	first := sendTogether(t, client, 1, func(int) *http.Request {
		return c.request(http.MethodGet, "/page").WithContext(ctx)
	})
	c.origin.WaitArrived(t, "/page", 1)
	others := sendTogether(t, client, 10, func(int) *http.Request { return c.request(http.MethodGet, "/page") })
	leave()
	require.ErrorIs(t, first.wait()[0].err, context.Canceled)
	gate.Open()
	for _, got := range others.responses() {
		require.Equal(t, http.StatusOK, got.Status)
		require.Equal(t, origin.Pattern(10_000), got.Body)
	}
	c.requireArrived("/page", 1)
}

func TestFault_HEADFillsTheEntryOfGET(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.Handle("/page", text("whole", minute, `ETag: "1"`))
	for range 2 {
		got := c.do(http.MethodHead, "/page", "")
		require.Equal(t, http.StatusOK, got.Status)
		require.Equal(t, "5", got.Header.Get("Content-Length"))
	}
	require.Zero(t, c.stats().Entries)
	require.Equal(t, "whole", string(c.get("/page").Body))
	require.Equal(t, "whole", string(c.get("/page").Body))
	c.requireArrived("/page", 3)

	got := c.do(http.MethodHead, "/page", "")
	require.Equal(t, "5", got.Header.Get("Content-Length"))
	require.True(t, strings.HasPrefix(cacheStatus(got), "edge; hit"), cacheStatus(got))
	require.Empty(t, got.Body)
	c.requireArrived("/page", 3)
}

func TestFault_WholeBodyIsBuffered(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	client := c.Client(harness.H1)
	for _, framing := range []origin.Framing{origin.ByLength, origin.Chunked, origin.UntilClose} {
		t.Run(fmt.Sprint(framing), func(t *testing.T) {
			c := c.in(t)
			path := fmt.Sprintf("/%d", framing)
			gate := origin.NewGate()
			c.origin.Handle(path, origin.Reply{
				Headers: []string{minute}, Body: []byte("firstlast"), ChunkSize: 5, HoldChunk: gate, Framing: framing,
			})
			gate.Step(1)
			leader, _ := open(t, client, c.request(http.MethodGet, path))
			require.Equal(t, "first", readN(t, leader.Body, 5))
			joiner, _ := open(t, client, c.request(http.MethodGet, path))
			require.Equal(t, "first", readN(t, joiner.Body, 5))
			gate.Open()
			for _, resp := range []*http.Response{leader, joiner} {
				rest, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Equal(t, "last", string(rest))
			}
			require.Equal(t, 1, c.origin.Stats(path).Arrived)
		})
	}
}

func TestFault_CrashOn304(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.HandleFunc("/page", origin.Conditional(text("whole", "Cache-Control: no-cache", `ETag: "1"`, "X-Page: 1")))
	c.origin.HandleFunc("/bare", origin.Sequence(
		text("bare", "Cache-Control: no-cache", `ETag: "1"`),
		origin.Reply{Raw: []byte("HTTP/1.1 304 Not Modified\r\n\r\n")},
	))
	for i := range 3 {
		got := c.get("/page")
		require.Equal(t, http.StatusOK, got.Status)
		require.Equal(t, "whole", string(got.Body))
		require.Equal(t, "1", got.Header.Get("X-Page"))
		require.Equal(t, "bare", string(c.get("/bare").Body))
		if i > 0 {
			require.Contains(t, cacheStatus(got), "fwd-status=304")
		}
	}
	b := sendTogether(t, c.Client(harness.H1), 30, func(int) *http.Request { return c.request(http.MethodGet, "/page") })
	for _, got := range b.responses() {
		require.Equal(t, http.StatusOK, got.Status)
		require.Equal(t, "whole", string(got.Body))
	}
}

func TestFault_HeaderMapSharedAcrossGoroutines(t *testing.T) {
	t.Parallel()
	c := startCaddyfile(t, `
		{{http "site"}} {
			header {
				X-Front {http.request.header.X-Client}
				?X-Default set
				-X-Hidden
				>X-Late late
			}
			header /miss* X-Second two
			edge_cache {
				debug_headers
			}
			reverse_proxy {{.origin}}
		}
	`, nil)
	c.origin.HandleFunc("/hit", numbered(minute, "X-Hidden: 1"))
	c.origin.HandleFunc("/miss", numbered("Cache-Control: no-store", "X-Hidden: 1"))
	c.origin.HandleFunc("/valid", origin.Conditional(text("valid", "Cache-Control: no-cache", `ETag: "1"`, "X-Hidden: 1")))
	paths := []string{"/hit", "/miss", "/valid"}
	for range 5 {
		b := sendTogether(t, c.Client(harness.H1), 60, func(i int) *http.Request {
			lines := []string{"X-Client: " + strconv.Itoa(i)}
			if i%4 == 3 {
				lines = append(lines, `If-None-Match: "1"`)
			}
			return c.request(http.MethodGet, paths[i%3], lines...)
		})
		for i, got := range b.responses() {
			require.Equal(t, []string{strconv.Itoa(i)}, got.Header["X-Front"])
			require.Equal(t, []string{"set"}, got.Header["X-Default"])
			require.Equal(t, []string{"late"}, got.Header["X-Late"])
			require.Len(t, got.Header["Cache-Status"], 1)
			require.Empty(t, got.Header["X-Hidden"])
		}
	}
}

func TestFault_ResponseWriterUsedAfterTheHandlerReturned(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	client := c.Client(harness.H1)
	const paths = 10
	gate := origin.NewGate()
	for i := range paths {
		reply := origin.Reply{Headers: []string{minute}, Body: origin.Pattern(200_000), ChunkSize: 50_000, HoldChunk: gate}
		if i%2 == 0 {
			reply.HoldHeader = gate
		}
		reply.Interim = []origin.Interim{{Status: http.StatusEarlyHints, Headers: []string{"Link: </a.css>; rel=preload"}}}
		c.origin.Handle(fmt.Sprintf("/%d", i), reply)
	}
	ctx, leave := context.WithCancel(t.Context())
	b := sendTogether(t, client, 3*paths, func(i int) *http.Request {
		return c.request(http.MethodGet, fmt.Sprintf("/%d", i%paths)).WithContext(ctx)
	})
	for i := range paths {
		c.origin.WaitArrived(t, fmt.Sprintf("/%d", i), 1)
	}
	leave()
	for _, o := range b.wait() {
		require.Error(t, o.err)
	}
	gate.Open()
	for i := range paths {
		path := fmt.Sprintf("/%d", i)
		got := c.get(path)
		require.Equal(t, origin.Pattern(200_000), got.Body)
		c.requireArrived(path, 1)
	}
}

func TestFault_ValidatorsNeverSentUpstream(t *testing.T) {
	t.Parallel()
	const modified = "Wed, 01 Jan 2025 00:00:00 GMT"
	c := startCached(t, "")
	c.origin.HandleFunc("/page", origin.Conditional(text("whole", "Cache-Control: no-cache", `ETag: "1"`, "Last-Modified: "+modified)))
	c.get("/page")
	got := c.get("/page")
	require.Equal(t, "whole", string(got.Body))
	requests := c.origin.Requests("/page")
	require.Len(t, requests, 2)
	require.Empty(t, requests[0].Header.Get("If-None-Match"))
	require.Equal(t, `"1"`, requests[1].Header.Get("If-None-Match"))
	require.Equal(t, modified, requests[1].Header.Get("If-Modified-Since"))
}

func TestFault_304ToAnUnconditionalRequest(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	gate := origin.NewGate()
	reply := text("whole", "Cache-Control: public, no-cache", `ETag: "1"`)
	c.origin.HandleFunc("/page", origin.Conditional(reply))
	c.get("/page")
	held := reply
	held.HoldHeader = gate
	c.origin.HandleFunc("/page", origin.Conditional(held))

	client := c.Client(harness.H1)
	conditional := sendTogether(t, client, 1, func(int) *http.Request {
		return c.request(http.MethodGet, "/page", `If-None-Match: "1"`)
	})
	c.origin.WaitArrived(t, "/page", 2)
	plain := sendTogether(t, client, 5, func(int) *http.Request { return c.request(http.MethodGet, "/page") })
	gate.Open()
	require.Equal(t, http.StatusNotModified, conditional.responses()[0].Status)
	for _, got := range plain.responses() {
		require.Equal(t, http.StatusOK, got.Status)
		require.Equal(t, "whole", string(got.Body))
	}
}

func TestFault_304ToAnUnconditionalRequestOnAMiss(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	gate := origin.NewGate()
	reply := text("whole", minute, `ETag: "1"`)
	reply.HoldHeader = gate
	c.origin.HandleFunc("/page", origin.Conditional(reply))
	client := c.Client(harness.H1)
	conditional := sendTogether(t, client, 1, func(int) *http.Request {
		return c.request(http.MethodGet, "/page", `If-None-Match: "1"`)
	})
	c.origin.WaitArrived(t, "/page", 1)
	plain := sendTogether(t, client, 5, func(int) *http.Request { return c.request(http.MethodGet, "/page") })
	gate.Open()
	require.Equal(t, http.StatusNotModified, conditional.responses()[0].Status)
	for _, got := range plain.responses() {
		require.Equal(t, http.StatusOK, got.Status)
		require.Equal(t, "whole", string(got.Body))
	}
	c.requireArrived("/page", 1)
}

func TestFault_UnboundedMemoryWithUniqueURLs(t *testing.T) {
	t.Parallel()
	c := startCaddyfile(t, cachedSite, harness.Vars{"options": "", "memory": "4MiB"})
	c.origin.Handle("/object/*", origin.Reply{Headers: []string{minute}, Body: origin.Pattern(4 << 10)})
	const batches, size = 30, 100
	client := c.Client(harness.H1)
	for n := range batches {
		b := sendTogether(t, client, size, func(i int) *http.Request {
			return c.request(http.MethodGet, fmt.Sprintf("/object/%d?%d", n, i))
		})
		for _, got := range b.responses() {
			require.Equal(t, origin.Pattern(4<<10), got.Body)
		}
		s := c.stats()
		require.EqualValues(t, 4<<20, s.Budget)
		require.LessOrEqual(t, s.Bytes+s.Reserved, s.Budget)
	}
	s := c.stats()
	require.LessOrEqual(t, s.Peak, s.Budget)
	require.Greater(t, s.Bytes, s.Budget/2, "the store is used")
}

func TestFault_PurgeLeavesVaryVariants(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.HandleFunc("/page", func(r *origin.Request) origin.Reply {
		return text(fmt.Sprintf("%s %d", r.Header.Get("X-Kind"), r.N), minute, "Vary: X-Kind")
	})
	kinds := []string{"a", "b", "c", "d"}
	for i, kind := range kinds {
		require.Equal(t, fmt.Sprintf("%s %d", kind, i+1), string(c.get("/page", "X-Kind: "+kind).Body))
	}
	for i, kind := range kinds {
		require.Equal(t, fmt.Sprintf("%s %d", kind, i+1), string(c.get("/page", "X-Kind: "+kind).Body))
	}
	status, body := c.Admin(http.MethodPost, "/edge/cache/purge", map[string]string{"url": c.URL("site") + "/page"})
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"deleted":true,"deleted_count":4}`, string(body))
	for i, kind := range kinds {
		require.Equal(t, fmt.Sprintf("%s %d", kind, i+5), string(c.get("/page", "X-Kind: "+kind).Body))
	}
}

func TestFault_TagPurgeRemovesOtherTags(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	tags := map[string]string{
		"/1":    "Surrogate-Key: product-1",
		"/10":   "Surrogate-Key: product-10",
		"/dot":  "Surrogate-Key: product.1",
		"/case": "Surrogate-Key: Product-1",
		"/list": "Cache-Tag: shoes,product-1",
		"/rest": "Surrogate-Key: product-1x shoes",
	}
	for path, line := range tags {
		c.origin.HandleFunc(path, numbered(minute, line))
		c.get(path)
	}
	status, body := c.Admin(http.MethodPost, "/edge/cache/purge", map[string]string{"tag": "product-1"})
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"deleted":true,"deleted_count":2}`, string(body))
	for path := range tags {
		want := "answer 1"
		if path == "/1" || path == "/list" {
			want = "answer 2"
		}
		require.Equal(t, want, string(c.get(path).Body), path)
	}
	// What is left can still be purged by its own tags.
	_, body = c.Admin(http.MethodPost, "/edge/cache/purge", map[string]any{"tags": []string{"shoes", "product-10"}})
	require.JSONEq(t, `{"deleted":true,"deleted_count":3}`, string(body))
}

func TestFault_KeySetChangesWhenASiteIsAdded(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.HandleFunc("/page", numbered(minute))
	c.get("/page")
	require.NoError(t, c.Reload(`
		{{http "before"}} {
			edge_cache {
				ttl 1m
			}
			reverse_proxy {{.origin}}
		}
		{{http "site"}} {
			edge_cache
			reverse_proxy {{.origin}}
		}
		{{http "after"}} {
			edge_cache
			reverse_proxy {{.origin}}
		}
	`))
	c.Rebase() // three sites instead of one
	got := c.get("/page")
	require.Equal(t, "answer 1", string(got.Body))
	require.Contains(t, cacheStatus(got), "edge; hit")
	require.Equal(t, "answer 2", string(c.Get(harness.H1, c.URL("after")+"/page").Body), "another site has keys of its own")
}
