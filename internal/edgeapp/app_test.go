package edgeapp_test

import (
	"errors"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

func init() {
	caddy.RegisterModule(late{})
	caddy.RegisterModule(user{})
}

// live records the memory of the configs that went live.
var live []int64

// settled records that of the configs that were alone.
var settled []int64

// user is an app that uses the edge app as features do.
type user struct {
	Fail bool `json:"fail,omitempty"`
	Tell int  `json:"tell,omitempty"` // the number of an event to emit
}

func (user) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "edgeapp_user", New: func() caddy.Module { return new(user) }}
}

func (u *user) Provision(ctx caddy.Context) error {
	app, err := edgeapp.From(ctx)
	if err != nil {
		return err
	}
	app.OnStart(func() error {
		if u.Fail {
			return errors.New("user refuses")
		}
		return nil
	})
	app.OnStart(func() error {
		live = append(live, app.Memory)
		return nil
	})
	app.OnSettled(func() { settled = append(settled, app.Memory) })
	return nil
}

func (u *user) Start() error {
	if u.Tell > 0 {
		edgeapp.Emit("edgeapp_probed", map[string]any{"n": u.Tell})
	}
	return nil
}

func (*user) Stop() error { return nil }

func TestOnStartRunsForLiveConfigsOnly(t *testing.T) {
	live = nil
	require.NoError(t, reloadtest.Load(t, `{"apps": {"edgeapp_user": {}}}`))
	require.NoError(t, reloadtest.Load(t, `{"apps": {"edgeapp_user": {}, "edge": {"memory": 1048576}}}`))
	require.ErrorContains(t, reloadtest.Load(t, `{"apps": {"edgeapp_user": {"fail": true}}}`), "user refuses")
	require.ErrorContains(t, reloadtest.Load(t, `{"apps": {"edgeapp_user": {}, "edge": {"memory": -1}}}`), "memory: -1 bytes: must not be negative")
	require.ErrorContains(t, reloadtest.Load(t, `{"apps": {"edgeapp_user": {}, "edge": {"mmeory": 1}}}`), "mmeory")
	require.Equal(t, []int64{edgeapp.DefaultMemory, 1 << 20, 1 << 20}, live, "the rejected one gave way to the one before")
}

// late is an app that fails to start. Caddy starts apps in any order.
type late struct{}

func (late) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "edgeapp_late", New: func() caddy.Module { return new(late) }}
}

func (*late) Start() error { return errors.New("too late") }
func (*late) Stop() error  { return nil }

// TestRejectedAfterStart: what a config has set at its start does not outlast its
// rejection, whichever app caused that.
func TestRejectedAfterStart(t *testing.T) {
	live = nil
	require.NoError(t, reloadtest.Load(t, `{"apps": {"edgeapp_user": {}, "edge": {"memory": 1048576}}}`))
	started := 0
	for range 100 {
		before := len(live)
		require.ErrorContains(t, reloadtest.Load(t, `{"apps": {"edgeapp_user": {}, "edge": {"memory": 2097152}, "edgeapp_late": {}}}`), "too late")
		require.Equal(t, int64(1<<20), live[len(live)-1])
		if started += (len(live) - before) / 2; started > 2 {
			return
		}
	}
	t.Fatal("the app never started first")
}

// TestSettledOnlyWhenAlone: what can't be undone is done for a config that nothing can
// reject any more, and not for one that is.
func TestSettledOnlyWhenAlone(t *testing.T) {
	settled = nil
	require.NoError(t, reloadtest.Load(t, `{"apps": {"edgeapp_user": {}, "edge": {"memory": 1048576}}}`))
	require.Equal(t, int64(1<<20), settled[len(settled)-1])
	settled = nil
	for range 30 {
		require.ErrorContains(t, reloadtest.Load(t, `{"apps": {"edgeapp_user": {}, "edge": {"memory": 2097152}, "edgeapp_late": {}}}`), "too late")
	}
	require.NotContains(t, settled, int64(2<<20))
	require.NoError(t, reloadtest.Load(t, `{"apps": {"edgeapp_user": {}, "edge": {"memory": 3145728}}}`))
	require.Equal(t, int64(3<<20), settled[len(settled)-1])
}

func TestConfigWithoutHTTP(t *testing.T) {
	require.NoError(t, reloadtest.Load(t, `{"apps": {"edge": {}}}`))
}
