package edgeapp

import (
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
		if err := p.EdgeProxy(h); err != nil {
			w.fault("reverse_proxy at %s: %w", w.place(), err)
		}
	}
}
