package upstreamhint

import (
	"context"
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
)

func TestOf(t *testing.T) {
	Register("test", func(dial string) Hint { return Hint{Weight: len(dial)} })
	require.Equal(t, Hint{Weight: 9}, Of("test/ab:1"))
	require.Zero(t, Of("other/ab:1"))
	require.Zero(t, Of("ab:1"))
}

func TestPassed(t *testing.T) {
	r, err := http.NewRequest(http.MethodGet, "/", nil)
	require.NoError(t, err)
	require.False(t, Passed(r))
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{}))
	Pass(r)
	require.True(t, Passed(r))
	require.False(t, Passed(r))
}
