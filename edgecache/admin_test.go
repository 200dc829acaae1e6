package edgecache

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/api"
)

// TestAdminWithoutCaches: all routes say alike that there is nothing to ask.
func TestAdminWithoutCaches(t *testing.T) {
	n := 0
	for _, route := range api.Routes() {
		if !strings.HasPrefix(route.Path, "/edge/cache/") {
			continue
		}
		n++
		err := route.Handle(httptest.NewRecorder(), httptest.NewRequest(route.Method, route.Path, nil))
		var fault caddy.APIError
		require.ErrorAs(t, err, &fault, route.Path)
		require.Equal(t, http.StatusNotFound, fault.HTTPStatus)
		require.EqualError(t, err, "no edge_cache is configured")
	}
	require.Equal(t, 6, n)
}
