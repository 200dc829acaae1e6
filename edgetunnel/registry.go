package edgetunnel

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddyedge/caddy-edge/edgetunnel/hub"
	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/poolref"
	"github.com/caddyedge/caddy-edge/internal/upstreamhint"
)

func init() {
	upstreamhint.Register(wire.Network, hint)
}

// registryKey is the one key of registries.
const registryKey = "tunnels"

// orders are those of operators, for as long as the process lives.
var orders = hub.NewOrders()

// registries holds the one registry of the process for as long as a config uses it.
var registries = poolref.New[*registry]()

// registry holds the agents of all sites, over every config.
type registry struct {
	hub      *hub.Hub
	attempts *attempts
	handlers sync.Map     // *Handler of the configs that have started
	drain    atomic.Int64 // the time that the last handler gives to requests under way
}

func takeRegistry() (*poolref.Ref[*registry], error) {
	return registries.Take(registryKey, func() (*registry, error) {
		return &registry{hub: hub.New(hooks(), orders), attempts: newAttempts()}, nil
	})
}

// Destruct implements caddy.Destructor: nobody lets agents in any more. Requests under
// way go on for a while.
func (r *registry) Destruct() error {
	if caddy.Exiting() {
		r.hub.Close(r.patience())
	} else {
		go r.hub.Close(r.patience())
	}
	return nil
}

// check has all agents looked at again, by the handlers of app, the config that is the only
// one that runs; nil stands for those of all configs.
func (r *registry) check(app *edgeapp.App) {
	r.hub.Check(func(id hub.Identity) (allowed []string, v hub.Verdict) {
		v = hub.Finish
		r.handlers.Range(func(key, _ any) bool {
			h := key.(*Handler)
			if app != nil && h.app != app || h.Name != id.Handler {
				return true
			}
			v = hub.Close
			if t := h.token(id.Token); t != nil && t.hash == id.Hash && h.certified(id, t) {
				allowed, v = t.Backends, hub.Keep
			}
			return v != hub.Keep
		})
		return allowed, v
	}, r.patience())
}

// patience is how long requests of agents may take that nobody is there for any more.
func (r *registry) patience() time.Duration {
	if d := time.Duration(r.drain.Load()); d > 0 {
		return d
	}
	return defaultDrain
}

// knows reports whether there is a token of that id.
func (r *registry) knows(id string) (known bool) {
	r.handlers.Range(func(key, _ any) bool {
		known = key.(*Handler).token(id) != nil
		return !known
	})
	return known
}

// named returns the backends that tokens name, each with 0.
func (r *registry) named() map[string]int {
	names := make(map[string]int)
	r.handlers.Range(func(key, _ any) bool {
		for _, t := range key.(*Handler).Tokens {
			for _, b := range t.Backends {
				if b != hub.AnyBackend {
					names[b] = 0
				}
			}
		}
		return true
	})
	return names
}

// peekHub returns the agents of the process, nil if there can't be any.
func peekHub() *hub.Hub {
	if r, ok := registries.Peek(registryKey); ok {
		return r.hub
	}
	return nil
}

// nobody is the agent of an upstream that stands for none. No agent can have that name.
const nobody = "-"

// dialOf is how a route is called in the configuration of a proxy.
func dialOf(address string) string { return wire.Network + "/" + address }

// hint tells a policy of a route.
func hint(dial string) upstreamhint.Hint {
	address := strings.TrimPrefix(dial, wire.Network+"/")
	if strings.HasPrefix(address, nobody+".") {
		return upstreamhint.Hint{Absent: true}
	}
	h := peekHub()
	if h == nil {
		return upstreamhint.Hint{}
	}
	route := h.Route(address)
	if route == nil {
		return upstreamhint.Hint{}
	}
	return upstreamhint.Hint{Weight: route.Backend.Weight, Load: int(route.Backend.Foreign.Load())}
}

var _ caddy.Destructor = (*registry)(nil)
