package reloadtest_test

import (
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

func init() { caddy.RegisterModule(probe{}) }

// events records what happened to the apps, by the names in their configs.
var events []string

type probe struct {
	Name string `json:"name"`
}

func (probe) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "reloadtest_probe", New: func() caddy.Module { return new(probe) }}
}

func (p *probe) Start() error {
	events = append(events, "start "+p.Name)
	return nil
}

func (p *probe) Stop() error {
	events = append(events, "stop "+p.Name)
	return nil
}

func TestLoad(t *testing.T) {
	t.Run("load", func(t *testing.T) {
		require.NoError(t, reloadtest.Load(t, `{"apps": {"reloadtest_probe": {"name": "a"}}}`))
		require.Error(t, reloadtest.Load(t, `{"apps": {"reloadtest_probe": {"unknown": "b"}}}`))
		require.NoError(t, reloadtest.Load(t, `{"apps": {"reloadtest_probe": {"name": "c"}}}`))
		require.NoError(t, reloadtest.Load(t, `{"apps": {"reloadtest_probe": {"name": "c"}}}`))
	})
	require.Equal(t, []string{"start a", "start c", "stop a", "start c", "stop c", "stop c"}, events)
	reloadtest.Stop(t)
}
