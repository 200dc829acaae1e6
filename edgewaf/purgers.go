package edgewaf

import (
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/caddyedge/caddy-edge/internal/edgeapp"
)

// methodPurge is the method by which clients purge a cache.
const methodPurge = "PURGE"

// purgers are the clients that may purge a cache behind a handler. Its purges are for the
// cache alone, and nothing that others are refused for.
type purgers struct {
	app     *edgeapp.App
	clients atomic.Pointer[[]netip.Prefix] // nil: the app has not told yet, or can't see the handler
}

// purges reports whether the request is a purge by a client from which a cache behind the
// handler takes it.
func (p *purgers) purges(r *http.Request, client netip.Addr) bool {
	if r.Method != methodPurge || !client.IsValid() {
		return false
	}
	if p.clients.Load() == nil {
		// The server has started before the app. An error is that of the app's start.
		_ = p.app.CheckRoutes()
	}
	clients := p.clients.Load()
	return clients != nil && slices.ContainsFunc(*clients, func(p netip.Prefix) bool { return p.Contains(client) })
}

// EdgePurgers implements edgeapp.GuardNode.
func (g *Guard) EdgePurgers(clients []netip.Prefix) { g.purgers.clients.Store(&clients) }

// EdgePurgers implements edgeapp.GuardNode.
func (f *Firewall) EdgePurgers(clients []netip.Prefix) { f.purgers.clients.Store(&clients) }
