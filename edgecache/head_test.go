package edgecache

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgecache/object"
)

// behind sends a request through handlers in front of the cache that have set
// header fields.
func (g *rig) behind(front http.Header, method, url string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	for name, values := range front {
		rec.Header()[name] = append([]string(nil), values...)
	}
	g.serve(rec, httptest.NewRequest(method, url, nil))
	return rec
}

// TestFieldsInFrontAreNotTheOrigins: those that a handler in front of the cache adds
// for browsers decide nothing about what is stored, whatever the method.
func TestFieldsInFrontAreNotTheOrigins(t *testing.T) {
	const url = "http://example.com/"
	synctest.Test(t, func(t *testing.T) {
		gets := 0
		g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				gets++
			}
			w.Header().Set("Etag", `"1"`)
			w.Header().Set("X-Origin", r.Method)
			if r.Header.Get("If-None-Match") == `"1"` {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			w.Header().Set("Content-Length", "1")
			if r.Method == http.MethodGet {
				_, _ = io.WriteString(w, "x")
			}
		})
		defer cleanup()
		front := http.Header{"Cache-Control": {"max-age=31536000"}, "X-Front": {"1"}}
		g.behind(front, http.MethodGet, url)
		got := g.behind(front, http.MethodHead, url)
		require.Equal(t, []string{"max-age=31536000"}, got.Header()["Cache-Control"])
		require.Equal(t, []string{"HEAD", "1", `"1"`}, []string{got.Header().Get("X-Origin"), got.Header().Get("X-Front"), got.Header().Get("Etag")})
		got = g.behind(front, http.MethodGet, url)
		require.Equal(t, 2, gets, "each use is still validated")
		require.Equal(t, []string{"max-age=31536000"}, got.Header()["Cache-Control"], "sent once")
		for o := range g.shared.memory.Range {
			require.Equal(t, object.Response, o.Kind())
			require.NotContains(t, o.Header(), "X-Front")
		}
	})
	for _, front := range []http.Header{{"Location": {url}}, {"Cache-Group-Invalidation": {`"a"`}}} {
		n := 0
		g, cleanup := newRig(t, `{}`, answering(&n, 200, "x", "Cache-Control: max-age=60", `Cache-Groups: "a"`))
		defer cleanup()
		g.get(url)
		got := g.behind(front, http.MethodPost, "http://example.com/other")
		for name, values := range front {
			require.Equal(t, values, got.Header()[name])
		}
		require.Equal(t, "edge; hit; ttl=60", g.get(url).cacheStatus())
	}
}

// TestHeaderOfAFailedForward: interim responses and fields that were set before a
// handler failed go to the client, and nothing twice.
func TestHeaderOfAFailedForward(t *testing.T) {
	for _, method := range []string{http.MethodHead, http.MethodPost} {
		n := 0
		g, cleanup := newRig(t, `{}`, answering(&n, 200, "x", "Cache-Control: max-age=0, stale-if-error=60"))
		defer cleanup()
		g.get("http://example.com/")
		g.origin = caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Link", "<a>")
			w.WriteHeader(http.StatusEarlyHints)
			return caddyhttp.HandlerError{StatusCode: http.StatusBadGateway, Err: errors.New("no")}
		})
		w := &interimRecorder{header: http.Header{"Link": {"<front>"}}}
		g.serve(w, httptest.NewRequest(method, "http://example.com/", nil))
		require.Equal(t, []int{103, 502}, w.codes)
		require.Equal(t, "<a>", w.links[0])
		require.Equal(t, []string{"<front>", "<a>"}, w.header["Link"])
	}
}
