// Package edgeapp is the Caddy app "edge": what all features of a config share.
package edgeapp

import (
	"fmt"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/internal/promreg"
)

func init() {
	caddy.RegisterModule(App{})
}

// DefaultMemory is the memory budget of a config that names none: 256 MiB.
const DefaultMemory = 256 << 20

// tinyMemory is the budget below which the unit was most likely forgotten.
const tinyMemory = 1 << 20

// App holds the budgets that all features share. It exists with its defaults in
// every config that uses a feature, configured or not.
//
// When a config starts, the app reads the routes of all HTTP servers and refuses
// those in which edge_cache would answer in place of an access rule, can never
// be reached, or would mix the responses of two routes, and those in which
// edge_breaker can never be reached or stands behind another one. It tells each
// edge_breaker which proxies are behind it.
type App struct {
	// Memory is the budget of all in-memory stores together, in bytes. Default
	// and meaning of zero: 268435456 (256 MiB). It must not be negative and
	// cannot be turned off.
	Memory int64 `json:"memory,omitempty"`

	// Redis is the server that nodes share, for features that are told to use
	// it. Default: none.
	Redis *Redis `json:"redis,omitempty"`

	ctx      caddy.Context
	events   *caddyevents.App
	ready    chan struct{} // closed when all apps have started, or this one was stopped
	getReady func()
	onStart  []func() error
	settled  []func()
	claims   map[string]string
	offers   map[string]bool // by kind and name
	needs    []need
	asks     map[*reverseproxy.Handler]*asking // see Asks
	// checkOnce reads the routes.
	checkOnce func() error
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "edge",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision sets defaults and refuses a Caddy that is too old.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	a.checkOnce = sync.OnceValue(a.checkRoutes)
	if a.Memory == 0 {
		a.Memory = DefaultMemory
	}
	if a.Memory > 0 && a.Memory < tinyMemory {
		ctx.Logger().Warn("memory is so little that next to nothing can be stored; was a unit forgotten, as in 256MiB?", zap.Int64("memory", a.Memory))
	}
	if err := a.loadEvents(); err != nil {
		return fmt.Errorf("loading the events app: %w", err)
	}
	if a.Redis != nil {
		if err := a.Redis.provision(caddy.NewReplacer()); err != nil {
			return err
		}
	}
	if err := promreg.Register(ctx.GetMetricsRegistry(), dropped); err != nil {
		return err
	}
	return CheckVersion(runningCaddy())
}

// Validate checks the budgets.
func (a *App) Validate() error {
	if a.Memory < 0 {
		return fmt.Errorf("memory: %d bytes: must not be negative", a.Memory)
	}
	return nil
}

// OnStart has f called when the config goes live, in the order of the calls, and
// again when one that was to take its place is rejected.
// Features use it in their Provision for what a rejected config must not do,
// such as changing the budget of a shared store. An error of f rejects the
// config.
func (a *App) OnStart(f func() error) { a.onStart = append(a.onStart, f) }

// OnSettled has f called when the config is the only one that runs: the one before it, if
// there was one, has stopped, and nothing can reject this one any more. That is for what
// can't be undone, such as dropping what a smaller budget has no room for. After a config
// was rejected f is called again.
func (a *App) OnSettled(f func()) { a.settled = append(a.settled, f) }

// Start checks the routes of the HTTP servers, then calls the functions given
// to OnStart.
func (a *App) Start() error {
	if err := a.checkNeeds(); err != nil {
		return err
	}
	if err := a.CheckRoutes(); err != nil {
		return err
	}
	return live.start(a)
}

// Stop ends the emission of events, unless another config runs already.
// Features stop with their own modules.
//
// The config may be one that was rejected after its start, by an app that
// started later. The one before it runs on then, and its functions given to
// OnStart are called again.
func (a *App) Stop() error {
	defer a.getReady() // nobody is to wait for a config that has ended
	return live.stop(a)
}

// Claim notes how a feature defines something that all its handlers of a config
// share by name, such as the zone of a limit. It fails when it was defined
// differently before. Features call it in Provision.
func (a *App) Claim(name, definition string) error {
	if before, ok := a.claims[name]; ok && before != definition {
		return fmt.Errorf("%s: defined twice, as %s and as %s", name, before, definition)
	}
	if a.claims == nil {
		a.claims = make(map[string]string)
	}
	a.claims[name] = definition
	return nil
}

// From returns the config's app; one with defaults is made and will be started
// when the config names none. ctx must belong to a config, as those that Caddy
// passes to Provision do.
func From(ctx caddy.Context) (*App, error) {
	app, err := ctx.App("edge")
	if err != nil {
		return nil, err
	}
	return app.(*App), nil
}

// Interface guards
var (
	_ caddy.App         = (*App)(nil)
	_ caddy.Provisioner = (*App)(nil)
	_ caddy.Validator   = (*App)(nil)
)
