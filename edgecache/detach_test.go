package edgecache

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	caddymap "github.com/caddyserver/caddy/v2/modules/caddyhttp/map"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mapped serves a request behind Caddy's map directive, whose placeholder {backend}
// holds on to the Replacer of the request. It ends as a server's request does: in
// case of an error, an error route maps another placeholder.
func mapped(t *testing.T, ctx context.Context, g *rig, next caddyhttp.Handler) (*httptest.ResponseRecorder, *caddy.Replacer) {
	rec := httptest.NewRecorder()
	r := prepared(rec, httptest.NewRequestWithContext(ctx, http.MethodGet, "http://example.com/", nil))
	front := &caddymap.Handler{Source: "{http.request.host}", Destinations: []string{"backend"}, Defaults: []string{"b1"}}
	err := front.ServeHTTP(rec, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		return g.ServeHTTP(w, r, next)
	}))
	if err != nil {
		r.URL.Path = "/error"
		other := &caddymap.Handler{Source: "{http.request.uri.path}", Destinations: []string{"page"}, Defaults: []string{"e1"}}
		err = other.ServeHTTP(rec, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			w.WriteHeader(http.StatusBadGateway)
			return nil
		}))
		require.NoError(t, err)
	}
	return rec, r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
}

// backend returns what {backend} is for the fetch.
func backend(r *http.Request) string {
	return r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).ReplaceAll("{backend}", "")
}

// TestRefreshReadsPlaceholdersOfTheClient: while the client is being answered and
// the server ends its request. It is for the race detector.
func TestRefreshReadsPlaceholdersOfTheClient(t *testing.T) {
	g, cleanup := newRig(t, `{}`, nil)
	defer cleanup()
	var running sync.WaitGroup
	origin := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		defer running.Done()
		if got := backend(r); got != "b1" {
			t.Errorf("backend is %q", got)
		}
		w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=600")
		_, err := io.WriteString(w, "x")
		return err
	})
	for range 50 {
		running.Add(1)
		ctx, cancel := context.WithCancel(t.Context())
		_, repl := mapped(t, ctx, g, origin)
		status, ok := repl.GetString("http.edge_cache.status")
		require.True(t, ok)
		require.Contains(t, []string{"store", "stale"}, status)
		running.Wait()
		settled(t, g)
		cancel()
	}
}

// settled waits until no fetch runs.
func settled(t *testing.T, g *rig) {
	require.Eventually(t, func() bool {
		g.flights.mu.Lock()
		defer g.flights.mu.Unlock()
		return len(g.flights.running) == 0
	}, 10*time.Second, time.Millisecond)
}

// TestClientThatLeavesKeepsThePlaceholdersOfItsFetch: no error route runs for it,
// which would change the request that the fetch goes on to read. It is for the race
// detector, too.
func TestClientThatLeavesKeepsThePlaceholdersOfItsFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, cleanup := newRig(t, `{}`, nil)
		defer cleanup()
		left := make(chan struct{})
		origin := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			<-left
			assert.Equal(t, "b1", backend(r))
			w.Header().Set("Cache-Control", "max-age=60")
			_, err := io.WriteString(w, "x")
			return err
		})
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() {
			rec, _ := mapped(t, ctx, g, origin)
			require.Equal(t, 499, rec.Code)
		})
		synctest.Wait()
		cancel()
		close(left) // the fetch reads while the server ends the request
		done.Wait()
		synctest.Wait()
		require.Equal(t, "edge; hit; ttl=60", g.get("http://example.com/").cacheStatus(), "it was fetched to its end")
	})
}

// TestNextFetchWaitsForTheOneBefore: when the origin confirms what is not stored, a
// second fetch follows, and the first one's handler may still be at work.
func TestNextFetchWaitsForTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, cleanup := newRig(t, `{}`, nil)
		defer cleanup()
		n, running := 0, 0
		origin := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			n++
			running++
			defer func() { running-- }()
			assert.Equal(t, 1, running)
			w.Header().Set("Cache-Control", "max-age=10")
			switch {
			case r.Header.Get("If-None-Match") != "":
				w.Header().Set("Etag", `"another"`)
				w.WriteHeader(http.StatusNotModified)
				<-r.Context().Done() // it was told that nobody needs more
			default:
				w.Header().Set("Etag", `"1"`)
				_, _ = io.WriteString(w, "x")
			}
			assert.Equal(t, "b1", backend(r))
			return nil
		})
		mapped(t, t.Context(), g, origin)
		time.Sleep(time.Minute)
		rec, repl := mapped(t, t.Context(), g, origin)
		require.Equal(t, "edge; fwd=uri-miss; stored; ttl=10", rec.Header().Get("Cache-Status"))
		require.Equal(t, "store", repl.ReplaceAll("{http.edge_cache.status}", ""))
		require.Equal(t, 3, n)
	})
}

// TestProxyPlaceholdersReachTheClient: those of the fetch that the request has led.
func TestProxyPlaceholdersReachTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, cleanup := newRig(t, `{}`, nil)
		defer cleanup()
		origin := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
			repl.Set("http.reverse_proxy.upstream.host", "192.0.2.1")
			_, ok := repl.Get("http.reverse_proxy.unknown")
			assert.False(t, ok)
			_, _ = io.WriteString(w, "x")
			return nil
		})
		_, repl := mapped(t, t.Context(), g, origin)
		require.Equal(t, "192.0.2.1", repl.ReplaceAll("{http.reverse_proxy.upstream.host}", ""))
		_, ok := repl.Get("http.reverse_proxy.unknown")
		require.False(t, ok)
		require.Equal(t, "miss no-freshness", repl.ReplaceAll("{http.edge_cache.status} {http.edge_cache.detail}", ""))
	})
}

// bound is a variable of one request.
type bound struct{}

func (bound) BoundToRequest() {}

// TestFailuresTellTheClientWhatTheyToldTheFetch: error routes, and the log, see what
// a handler behind the cache said of a failure.
func TestFailuresTellTheClientWhatTheyToldTheFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, cleanup := newRig(t, `{}`, nil)
		defer cleanup()
		refused := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			assert.Nil(t, caddyhttp.GetVar(r.Context(), "bound"), "it belongs to the client's request")
			assert.Equal(t, "free", caddyhttp.GetVar(r.Context(), "free"))
			caddyhttp.SetVar(r.Context(), "behind", bound{})
			r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Set("http.edge_breaker.reason", "open")
			w.Header().Set("Retry-After", "7")
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Content-Type", "text/plain")
			return caddyhttp.Error(http.StatusServiceUnavailable, nil)
		})
		rec := httptest.NewRecorder()
		r := prepared(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://example.com/", nil))
		caddyhttp.SetVar(r.Context(), "bound", bound{})
		caddyhttp.SetVar(r.Context(), "free", "free")
		err := g.ServeHTTP(rec, r, refused)
		require.Equal(t, http.StatusServiceUnavailable, codeOf(err))
		require.Equal(t, []string{"7"}, rec.Header()["Retry-After"])
		require.Equal(t, []string{"no-store"}, rec.Header()["Cache-Control"])
		require.NotContains(t, rec.Header(), "Content-Type")
		require.Nil(t, caddyhttp.GetVar(r.Context(), "behind"))
		require.Equal(t, "open", r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).ReplaceAll("{http.edge_breaker.reason}", ""))
	})
}
