package origin

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := NewGate()
		ctx, cancel := context.WithCancel(t.Context())
		passed, refused := make(chan struct{}, 5), make(chan error, 5)
		for range 5 {
			go func() {
				if err := gate.Wait(ctx); err != nil {
					refused <- err
					return
				}
				passed <- struct{}{}
			}()
		}
		synctest.Wait()
		require.Empty(t, passed)

		gate.Step(2)
		synctest.Wait()
		require.Len(t, passed, 2)

		cancel()
		synctest.Wait()
		require.Len(t, passed, 2)
		require.Len(t, refused, 3)
		require.ErrorIs(t, <-refused, context.Canceled)

		gate.Step(1)
		require.NoError(t, gate.Wait(t.Context()))
		gate.Open()
		require.NoError(t, gate.Wait(t.Context()))
		require.NoError(t, gate.Wait(t.Context()))
	})
}

func TestNilGateIsOpen(t *testing.T) {
	var gate *Gate
	require.NoError(t, gate.Wait(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, gate.Wait(ctx), context.Canceled)
}
