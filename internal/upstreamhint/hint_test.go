package upstreamhint

import (
	"context"
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
	require.False(t, Passed(context.Background()))
	ctx := context.WithValue(context.Background(), caddyhttp.VarsCtxKey, map[string]any{})
	Pass(ctx)
	require.True(t, Passed(ctx))
	require.False(t, Passed(ctx))
}
