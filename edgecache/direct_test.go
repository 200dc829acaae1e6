package edgecache

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// directly runs f with handlers whose next request for http://example.com/ is
// fetched on the client's own goroutine: collapsing is off, or what the origin
// said before could not be shared.
func directly(t *testing.T, origin func(w http.ResponseWriter, r *http.Request), f func(t *testing.T, g *rig)) {
	t.Run("collapse off", func(t *testing.T) {
		g, cleanup := newRig(t, `{"collapse": {"off": true}}`, origin)
		defer cleanup()
		f(t, g)
	})
	t.Run("hit for miss", func(t *testing.T) {
		found := false
		g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, r *http.Request) {
			if !found {
				found = true
				w.Header().Set("Cache-Control", "private")
				w.WriteHeader(http.StatusOK)
				return
			}
			origin(w, r)
		})
		defer cleanup()
		require.Equal(t, "edge; fwd=uri-miss; detail=private", g.get("http://example.com/").cacheStatus())
		f(t, g)
	})
}

// TestUnsolicited304: nobody asked the origin for it, and a client that has
// nothing can't do anything with it.
func TestUnsolicited304(t *testing.T) {
	origin := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Etag", `"1"`)
		w.Header().Set("Cache-Control", "max-age=60")
		w.WriteHeader(http.StatusNotModified)
	}
	directly(t, origin, func(t *testing.T, g *rig) {
		got := g.get("http://example.com/")
		require.Equal(t, http.StatusBadGateway, got.Code)
		require.Empty(t, got.Header().Get("Etag"))
		got = g.get("http://example.com/", `If-None-Match: "1"`)
		require.Equal(t, http.StatusNotModified, got.Code)
		require.Equal(t, `"1"`, got.Header().Get("Etag"))
		require.Zero(t, g.shared.memory.Stats().Entries)
	})
	t.Run("flight", func(t *testing.T) {
		g, cleanup := newRig(t, `{}`, origin)
		defer cleanup()
		require.Equal(t, http.StatusBadGateway, g.get("http://example.com/").Code)
	})
}

// TestPartialRequestsAreNotStoredDirectly: the origin was asked for less than the
// whole response, so what it says is for this client alone, whatever it looks
// like.
func TestPartialRequestsAreNotStoredDirectly(t *testing.T) {
	for _, fields := range []string{
		"Range: bytes=0-1", "Range: bytes=0-1\nIf-Range: \"1\"", `If-None-Match: "2"`, `If-Match: "1"`,
		"If-Modified-Since: Mon, 01 Jan 1990 00:00:00 GMT", "If-Unmodified-Since: Mon, 01 Jan 2035 00:00:00 GMT",
	} {
		t.Run(fields, func(t *testing.T) {
			o := &numbered{fields: []string{"Cache-Control: max-age=60", `Etag: "1"`}}
			directly(t, o.ServeHTTP, func(t *testing.T, g *rig) {
				require.NotContains(t, g.get("http://example.com/", strings.Split(fields, "\n")...).cacheStatus(), "stored")
				require.Zero(t, g.shared.memory.Stats().Entries)
				first := g.get("http://example.com/")
				require.Equal(t, "edge; fwd=uri-miss; stored; ttl=60", first.cacheStatus())
				require.Equal(t, first.Body.String(), g.get("http://example.com/").Body.String())
			})
		})
	}
}
