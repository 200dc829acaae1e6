package edgewaf

import (
	"net/netip"
	"slices"
)

// methodPurge is the method by which clients purge a cache.
const methodPurge = "PURGE"

// EdgePurgers implements edgeapp.GuardNode.
func (g *Guard) EdgePurgers(clients []netip.Prefix) { g.purgers.Store(&clients) }

// purges reports whether the request is a purge by a client from which a cache behind the
// guard takes it.
func (v *visit) purges() bool {
	g := v.guard
	if v.r.Method != methodPurge || !v.client.IsValid() {
		return false
	}
	if g.purgers.Load() == nil {
		// The server has started before the app. An error is that of the app's start.
		_ = g.app.CheckRoutes()
	}
	clients := g.purgers.Load()
	return clients != nil && slices.ContainsFunc(*clients, func(p netip.Prefix) bool { return p.Contains(v.client) })
}
