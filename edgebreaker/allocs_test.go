//go:build !race

// The race detector takes things out of pools.

package edgebreaker

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAllocations: what a whole request allocates beside those of Caddy's proxy: the
// record, five for the context of the deadlines, one by Caddy for a handler.
func TestAllocations(t *testing.T) {
	base := httptest.NewRequest(http.MethodGet, "http://a/", nil)
	allocs := func(handlers string) float64 {
		s := server(t, handlers)
		return testing.AllocsPerRun(500, func() { serveOnce(s, base, &sink{header: make(http.Header)}) })
	}
	plain := allocs(plainProxy)
	require.LessOrEqual(t, allocs(edgeProxy)-plain, 7.0)
}
