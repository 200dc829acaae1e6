package poolref_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/poolref"
)

// store counts how often it was destructed.
type store struct {
	destructed int
	err        error
}

func (s *store) Destruct() error {
	s.destructed++
	return s.err
}

func TestValueLivesAsLongAsItsReferences(t *testing.T) {
	pool := poolref.New[*store]()
	made := 0
	newStore := func() (*store, error) {
		made++
		return new(store), nil
	}

	first, err := pool.Take("a", newStore)
	require.NoError(t, err)
	second, err := pool.Take("a", newStore)
	require.NoError(t, err)
	require.Same(t, first.Value(), second.Value())
	require.Equal(t, 1, made)

	require.NoError(t, first.Release())
	require.NoError(t, first.Release(), "releasing twice must not take the other's reference")
	require.Equal(t, 0, second.Value().destructed)
	_, ok := pool.Peek("a")
	require.True(t, ok)

	value := second.Value()
	require.NoError(t, second.Release())
	require.Equal(t, 1, value.destructed)
	_, ok = pool.Peek("a")
	require.False(t, ok)

	third, err := pool.Take("a", newStore)
	require.NoError(t, err)
	require.Equal(t, 2, made)
	require.NoError(t, first.Release(), "an old reference must not release the new value")
	require.Equal(t, 0, third.Value().destructed)
}

func TestTakeReturnsTheErrorOfMake(t *testing.T) {
	pool := poolref.New[*store]()
	broken := errors.New("broken")
	ref, err := pool.Take("a", func() (*store, error) { return nil, broken })
	require.ErrorIs(t, err, broken)
	require.Nil(t, ref)
	require.NoError(t, ref.Release())
	require.Nil(t, ref.Value())
	_, ok := pool.Peek("a")
	require.False(t, ok)

	ref, err = pool.Take("a", func() (*store, error) { return new(store), nil })
	require.NoError(t, err)
	require.NotNil(t, ref.Value())
}

func TestReleaseReturnsTheErrorOfDestruct(t *testing.T) {
	pool := poolref.New[*store]()
	broken := errors.New("broken")
	ref, err := pool.Take("a", func() (*store, error) { return &store{err: broken}, nil })
	require.NoError(t, err)
	err = ref.Release()
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "closing a")
}

func TestRange(t *testing.T) {
	pool := poolref.New[*store]()
	for _, key := range []string{"a", "b", "c"} {
		_, err := pool.Take(key, func() (*store, error) { return new(store), nil })
		require.NoError(t, err)
	}
	var keys []string
	pool.Range(func(key string, _ *store) bool {
		keys = append(keys, key)
		return true
	})
	require.ElementsMatch(t, []string{"a", "b", "c"}, keys)

	calls := 0
	pool.Range(func(string, *store) bool {
		calls++
		return false
	})
	require.Equal(t, 1, calls)
}
