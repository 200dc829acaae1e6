package edgebreaker

import (
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/internal/edgeapp"
)

// What a handler guards.
const (
	partUnknown  int32 = iota // the app has not told yet, or can't see the handler
	partBackends              // the backends of proxies that ask
	partRoute                 // the route as a whole
)

// EdgeFallback implements edgeapp.BreakerNode.
func (h *Handler) EdgeFallback() caddyhttp.RouteList {
	if h.Fallback == nil {
		return nil
	}
	return h.Fallback.Routes
}

// EdgeProxies implements edgeapp.BreakerNode: the route is guarded as a whole where a
// proxy is behind that does not ask, and none that does. Where some do a route is no
// backend, and the others are left alone.
func (h *Handler) EdgeProxies(behind edgeapp.ProxiesBehind) {
	h.behind = &behind
	part := partBackends
	if len(behind.Plain) > 0 && len(behind.Asking) == 0 && len(behind.Inner) == 0 {
		part = partRoute
	}
	h.part.Store(part)
}

// guardsRoute reports whether the route is guarded as a whole.
func (h *Handler) guardsRoute() bool {
	part := h.part.Load()
	if part == partUnknown {
		// The server has started before the app. An error is that of the app's start.
		_ = h.app.CheckRoutes()
		part = h.part.Load()
	}
	return part == partRoute
}

// tell logs what is not guarded as one may expect.
func (h *Handler) tell() {
	name := zap.String("name", h.Name)
	if h.behind == nil {
		h.logger.Warn("edge_breaker is in no route that can be read, maybe since it is inside of a handler of another module, and guards only proxies with lb_policy edge", name)
		return
	}
	proxies := func(places []string) zap.Field { return zap.Strings("proxies", places) }
	b := h.behind
	switch {
	case h.guardsRoute():
		h.logger.Warn("no proxy behind edge_breaker has lb_policy edge, so the route as a whole is guarded, not each backend", name, proxies(b.Plain))
	case len(b.Plain) > 0:
		h.logger.Warn("a proxy behind edge_breaker has no lb_policy edge, while another one has or has an edge_breaker of its own: its requests are not guarded", name, proxies(b.Plain))
	case len(b.Asking) == 0 && len(b.Cached) == 0:
		h.logger.Warn("no proxy is behind edge_breaker, unless inside of a handler of another module: there it guards only one with lb_policy edge", name)
	}
	if len(b.Bound) > 0 {
		h.logger.Info("lb_policy edge is inside of another policy, and requests for which that one decides are not guarded", name, proxies(b.Bound))
	}
	if len(b.Cached) > 0 {
		h.logger.Warn("edge_cache stands between edge_breaker and the proxy, so that the requests which the cache makes are not guarded: put edge_breaker behind edge_cache", name, proxies(b.Cached))
	}
}
