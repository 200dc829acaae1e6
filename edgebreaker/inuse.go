package edgebreaker

import (
	"sync"
	"time"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// What runs: the policies and handlers of the running configs.
var (
	policies sync.Map // of *Policy
	handlers sync.Map // of *Handler
)

// inUse tells which backends the running configs have.
type inUse struct {
	addresses map[string]bool
	any       bool // an upstream has placeholders, so that it may be any backend
}

func backendsInUse() inUse {
	in := inUse{addresses: make(map[string]bool)}
	policies.Range(func(key, _ any) bool {
		for _, m := range key.(*Policy).table.members() {
			in.addresses[m.address] = true
			in.any = in.any || m.expands
		}
		return true
	})
	handlers.Range(func(key, _ any) bool {
		if h := key.(*Handler); h.guardsRoute() {
			in.addresses[routeAddress(h.Name)] = true
		}
		return true
	})
	return in
}

// busy reports whether a backend matters though no config has it.
func busy(s breaker.Status) bool { return s.Active > 0 || s.Mode != breaker.Auto }

// gauged reports whether the gauges tell of a backend.
func (in inUse) gauged(s breaker.Status) bool { return in.addresses[s.Address] || busy(s) }

// listed reports whether the admin API lists it.
func (in inUse) listed(s breaker.Status, now time.Time) bool {
	return in.any || in.gauged(s) || s.OpenUntil.After(now)
}
