package reloadtest

import (
	"context"
	"sync"

	"github.com/caddyserver/caddy/v2"
)

// Context returns the context of a config without logs that does not run, to
// provision modules in:
//
//	ctx, cleanup := caddy.NewContext(reloadtest.Context())
//
// The config is one for all callers, so that what it shares by name, such as
// metrics, is as in one process. It may be used in bubbles of testing/synctest.
func Context() caddy.Context {
	ctx := config()
	ctx.Context = context.Background() // one that no other bubble has used
	return ctx
}

var config = sync.OnceValue(func() caddy.Context {
	ctx, err := caddy.ProvisionContext(&caddy.Config{Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		"default": {BaseLog: caddy.BaseLog{WriterRaw: []byte(`{"output":"discard"}`)}},
	}}})
	if err != nil {
		panic(err) // the config is a constant
	}
	return ctx
})
