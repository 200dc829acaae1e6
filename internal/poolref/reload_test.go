package poolref_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/poolref"
	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

func init() { caddy.RegisterModule(pooled{}) }

var stores = poolref.New[*store]()

// pooled is an app that shares a store with its successors.
type pooled struct {
	// Generation makes configs differ.
	Generation int `json:"generation"`
	// Fail rejects the config, before or after the store is taken.
	Fail string `json:"fail,omitempty"`

	ref *poolref.Ref[*store]
}

func (pooled) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "poolref_test", New: func() caddy.Module { return new(pooled) }}
}

func (p *pooled) Provision(caddy.Context) (err error) {
	if p.Fail == "early" {
		return errors.New("rejected early")
	}
	p.ref, err = stores.Take("store", func() (*store, error) { return new(store), nil })
	if err == nil && p.Fail == "late" {
		err = errors.New("rejected late")
	}
	return err
}

func (p *pooled) Start() error {
	if p.Fail == "start" {
		return errors.New("rejected at start")
	}
	return nil
}

func (*pooled) Stop() error      { return nil }
func (p *pooled) Cleanup() error { return p.ref.Release() }

// TestReload: the value of config A survives any rejected B and goes over to C.
func TestReload(t *testing.T) {
	config := func(generation int, fail string) string {
		return fmt.Sprintf(`{"apps": {"poolref_test": {"generation": %d, "fail": %q}}}`, generation, fail)
	}
	require.NoError(t, reloadtest.Load(t, config(1, "")))
	first, ok := stores.Peek("store")
	require.True(t, ok)

	for _, fail := range []string{"early", "late", "start"} {
		require.ErrorContains(t, reloadtest.Load(t, config(2, fail)), "rejected")
		kept, ok := stores.Peek("store")
		require.True(t, ok, "rejected %s", fail)
		require.Same(t, first, kept)
	}

	require.NoError(t, reloadtest.Load(t, config(3, "")))
	kept, ok := stores.Peek("store")
	require.True(t, ok)
	require.Same(t, first, kept)
	require.Equal(t, 0, first.destructed)

	reloadtest.Stop(t)
	require.Equal(t, 1, first.destructed)
	_, ok = stores.Peek("store")
	require.False(t, ok)
}
