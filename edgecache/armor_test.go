package edgecache

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
)

// getRewritten asks for a URL that a handler in front rewrites to a path; an
// empty one leaves it alone.
func (g *rig) getRewritten(url, path string) got {
	w := httptest.NewRecorder()
	r := caddyhttp.PrepareRequest(httptest.NewRequest(http.MethodGet, url, nil), caddy.NewReplacer(), w, new(caddyhttp.Server))
	if path != "" {
		r.URL.Path, r.URL.RawPath, r.RequestURI = path, "", path
	}
	if err := g.ServeHTTP(w, r, g.origin); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
	return got{ResponseRecorder: w}
}

// TestDeceptionArmor: a page under the name of a static file is not stored,
// however the name is spelled and whatever is made of it, even where the origin's
// private is overridden.
func TestDeceptionArmor(t *testing.T) {
	const refused = "edge; fwd=uri-miss; detail=content-type-mismatch"
	const stored = "edge; fwd=uri-miss; stored; ttl=3600"
	tests := []struct{ url, rewritten, media, want string }{
		{"/account/x.css", "", "text/html", refused},
		{"/account/x.CSS", "", "text/html; charset=utf-8", refused},
		{"/account/x%2Ecss", "", "text/html", refused},
		{"/account/x%2ecss", "", "text/html", refused},
		{"/account/x.cs%73", "", "text/html", refused},
		{"/account%2Fx.css", "", "text/html", refused},
		{"/x.css", "/account", "text/html", refused},
		{"/x%2Ecss", "/account", "text/html", refused},
		{"/x.css?a=b", "/account", "text/html", refused},
		{"/account", "/account.css", "text/html", refused},
		{"/account", "/index.php", "text/html", stored},
		{"/account", "", "text/html", stored},
		{"/x.css", "/build/x.css", "text/css", stored},
		{"/x%2Ecss", "", "text/css", stored},
	}
	for _, config := range []string{`{"override": "1h", "override_all": true}`, `{"override": "1h", "override_all": true, "collapse": {"off": true}}`} {
		for _, tt := range tests {
			t.Run(config+" "+tt.url+" "+tt.rewritten+" "+tt.media, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var n int
					g, cleanup := newRig(t, config, answering(&n, 200, "x", "Cache-Control: private", "Content-Type: "+tt.media))
					defer cleanup()
					require.Equal(t, tt.want, g.getRewritten("http://example.com"+tt.url, tt.rewritten).cacheStatus())
				})
			})
		}
	}
}

// TestHandlerThatWritesNothingIsNotStored: that nothing came is no content.
func TestHandlerThatWritesNothingIsNotStored(t *testing.T) {
	for _, config := range []string{`{"ttl": "1m"}`, `{"ttl": "1m", "collapse": {"off": true}}`, `{"override": "1m", "override_all": true}`} {
		t.Run(config, func(t *testing.T) {
			n := 0
			g, cleanup := newRig(t, config, func(w http.ResponseWriter, _ *http.Request) {
				n++
				w.Header().Set("X-A", "b")
			})
			defer cleanup()
			for want := range 3 {
				got := g.get("http://example.com/")
				require.Equal(t, "b", got.Header().Get("X-A"))
				require.NotContains(t, got.cacheStatus(), "stored")
				require.Equal(t, want+1, n)
			}
			require.Zero(t, g.shared.memory.Stats().Entries)
		})
	}
	t.Run("an empty response is", func(t *testing.T) {
		var n int
		g, cleanup := newRig(t, `{"ttl": "1m"}`, answering(&n, 200, ""))
		defer cleanup()
		g.get("http://example.com/")
		g.get("http://example.com/")
		require.Equal(t, 1, n)
	})
}
