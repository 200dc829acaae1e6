package edgeapp

import (
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// ProxyPolicy is implemented by selection policies that have to know the proxy
// that they choose for, which Caddy does not tell them. The app calls EdgeProxy
// when a config starts, with each proxy of the HTTP servers that has the policy as
// its own (not inside of another policy); an error rejects the config. One proxy
// may be reached in several ways, then the call is repeated.
type ProxyPolicy interface {
	EdgeProxy(h *reverseproxy.Handler) error
}

// checkPolicy introduces a proxy to its policy.
func (w *walk) checkPolicy(h *reverseproxy.Handler) {
	if h.LoadBalancing == nil {
		return
	}
	if p, ok := h.LoadBalancing.SelectionPolicy.(ProxyPolicy); ok {
		if w.proxies[p] == "" {
			w.proxies[p] = w.server + ": " + w.place()
		}
		if err := p.EdgeProxy(h); err != nil {
			w.fault("reverse_proxy at %s: %w", w.place(), err)
		}
	}
}

// PlaceOf returns the server and the place in its routes of the proxy that has the
// policy, such as "srv0: routes/0/handle/1 (host example.com)", the first of several
// ways to it; "" when no config that runs has introduced them.
func PlaceOf(p ProxyPolicy) string {
	live.mu.Lock()
	defer live.mu.Unlock()
	for _, a := range slices.Backward(live.started) {
		if place := a.proxies[p]; place != "" {
			return place
		}
	}
	return ""
}
