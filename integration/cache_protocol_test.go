package integration

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// Every protocol shares what any of them fetched, whole and in parts.
func TestCacheOverEveryProtocol(t *testing.T) {
	t.Parallel()
	c := startCaddyfile(t, `
		{{https "site"}} {
			edge_cache
			reverse_proxy {{.origin}}
		}
	`, nil)
	body := origin.Pattern(1_500_000)
	c.origin.Handle("/shared", origin.Reply{Headers: []string{minute, `ETag: "1"`}, Body: body})
	c.Get(harness.H1, c.URL("site")+"/shared")
	harness.EachTLS(t, func(t *testing.T, p harness.Proto) {
		c := c.in(t)
		got := c.Get(p, c.URL("site")+"/shared")
		requireBody(t, body, got.Body)
		require.Contains(t, cacheStatus(got), "edge; hit")
		part := c.Get(p, c.URL("site")+"/shared", "Range: bytes=1000000-1000009")
		require.Equal(t, http.StatusPartialContent, part.Status)
		require.Equal(t, string(body[1000000:1000010]), string(part.Body))
		require.Equal(t, http.StatusNotModified, c.Get(p, c.URL("site")+"/shared", `If-None-Match: "1"`).Status)
		c.requireArrived("/shared", 1)

		path := fmt.Sprintf("/crowd/%s", p)
		gate := origin.NewGate()
		c.origin.Handle(path, origin.Reply{Headers: []string{minute}, Body: body, ChunkSize: 300_000, HoldHeader: gate})
		client := c.Client(p)
		gate.Step(1)
		b := make(chan *harness.Response, 10)
		for range cap(b) {
			go func() {
				got, err := harness.Send(client, c.request(http.MethodGet, path))
				if err != nil {
					got = &harness.Response{Body: []byte(err.Error())}
				}
				b <- got
			}()
		}
		for range cap(b) {
			requireBody(t, body, (<-b).Body)
		}
		c.requireArrived(path, 1)
	})
}

// A body in a GET request passes whole, and is never part of what is shared.
func TestGETWithABodyOverEveryProtocol(t *testing.T) {
	t.Parallel()
	c := startCaddyfile(t, `
		{{https "site"}} {
			edge_cache
			reverse_proxy {{.origin}}
		}
	`, nil)
	harness.EachTLS(t, func(t *testing.T, p harness.Proto) {
		c := c.in(t)
		path := "/" + string(p)
		c.origin.HandleFunc(path, reflection())
		body := string(origin.Pattern(100_000))
		got := c.Do(p, http.MethodGet, c.URL("site")+path, body)
		require.Contains(t, string(got.Body), "\n\n"+body)
		require.Equal(t, "edge; fwd=bypass; detail=request-body", cacheStatus(got))
		got = c.Get(p, c.URL("site")+path)
		require.NotContains(t, string(got.Body), body)
		require.Contains(t, cacheStatus(got), "fwd=uri-miss; stored")
	})
}
