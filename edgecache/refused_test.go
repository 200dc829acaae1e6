package edgecache

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

// TestRefusalKeepsCollapsing: that one request was turned away on its way says
// nothing of the page, whose next fetch is again one for all.
func TestRefusalKeepsCollapsing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refuse, asked := true, 0
		g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, r *http.Request) {
			if refuse {
				reqinfo.From(r).Set(reqinfo.Refused, "test")
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			time.Sleep(time.Second)
			answering(&asked, 200, "page", "Cache-Control: max-age=60")(w, r)
		})
		defer cleanup()
		require.Equal(t, http.StatusServiceUnavailable, g.get("http://example.com/").Code)
		refuse = false
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { require.Equal(t, "page", g.get("http://example.com/").Body.String()) })
		}
		wg.Wait()
		require.Equal(t, 1, asked)
	})
}
