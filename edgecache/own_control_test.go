package edgecache

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestOwnControlStaysHere: Edge-Cache-Control is between the origin and this
// cache; no client gets to see it.
func TestOwnControlStaysHere(t *testing.T) {
	const url = "http://example.com/"
	tests := []struct {
		name, config, control string
		method                string
		status                string
	}{
		{"stored", `{}`, "max-age=60", "GET", "edge; fwd=uri-miss; stored; ttl=60"},
		{"not stored", `{}`, "no-store", "GET", "edge; fwd=uri-miss; detail=no-store"},
		{"direct and stored", `{"collapse": {"off": true}}`, "max-age=60", "GET", "edge; fwd=uri-miss; stored; ttl=60"},
		{"direct and not stored", `{"collapse": {"off": true}}`, "no-store", "GET", "edge; fwd=uri-miss; detail=no-store"},
		{"head", `{}`, "max-age=60", "HEAD", "edge; fwd=uri-miss; detail=head"},
		{"post", `{}`, "max-age=60", "POST", "edge; fwd=method"},
		{"bypass", `{"rules": [{"bypass": true}]}`, "max-age=60", "GET", "edge; fwd=bypass; detail=rule"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var n int
			g, cleanup := newRig(t, tt.config, answering(&n, 200, "x", "Edge-Cache-Control: "+tt.control, "X-Other: kept"))
			defer cleanup()
			got := g.send(tt.method, url)
			require.Equal(t, tt.status, got.cacheStatus())
			require.Equal(t, "kept", got.Header().Get("X-Other"))
			require.Empty(t, got.Header().Values("Edge-Cache-Control"))
		})
	}
	t.Run("hit and validation", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := &held{numbered: numbered{fields: []string{"Edge-Cache-Control: max-age=60", `Etag: "1"`}}}
			g, cleanup := newRig(t, `{}`, o.ServeHTTP)
			defer cleanup()
			g.get(url)
			for _, step := range []struct {
				wait   time.Duration
				status string
			}{
				{0, "edge; hit; ttl=60"},
				{2 * time.Minute, "edge; fwd=stale; fwd-status=304; ttl=60"},
				{0, "edge; hit; ttl=60"},
			} {
				time.Sleep(step.wait)
				got := g.get(url)
				require.Equal(t, step.status, got.cacheStatus())
				require.Empty(t, got.Header().Values("Edge-Cache-Control"))
				require.Equal(t, "1", got.Body.String())
			}
		})
	})
	t.Run("hit for miss", func(t *testing.T) {
		var n int
		g, cleanup := newRig(t, `{}`, answering(&n, 200, "x", "Edge-Cache-Control: private"))
		defer cleanup()
		for range 3 {
			got := g.get(url)
			require.Equal(t, "edge; fwd=uri-miss; detail=private", got.cacheStatus())
			require.Empty(t, got.Header().Values("Edge-Cache-Control"))
			require.Equal(t, http.StatusOK, got.Code)
		}
	})
}
