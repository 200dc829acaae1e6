package edgeapp

import (
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// BreakerNode is implemented by handlers that guard the proxies behind them. It is
// how the app recognises them in the route tree.
type BreakerNode interface {
	// EdgeFallback returns the routes that answer in the handler's place, if any.
	EdgeFallback() caddyhttp.RouteList
	// EdgeProxies is told what is behind the handler, before the config goes live
	// and before the handler's first request, if that comes earlier and asks for it
	// by App.CheckRoutes. It is not called for a handler that the app can't see,
	// since it is inside of one that the app does not know.
	EdgeProxies(behind ProxiesBehind)
}

// ProxiesBehind are the places of what requests may come to behind a BreakerNode, up
// to the next one.
type ProxiesBehind struct {
	// Asking are the proxies whose policy asks the handler for its backends, or has
	// one inside that does.
	Asking []string
	// Bound are those of Asking whose own policy does not ask, so that it decides
	// for some requests.
	Bound []string
	// Plain are the proxies without such a policy.
	Plain []string
	// Cached are the proxies, of either kind, that a cache in between asks by
	// requests of its own. They are in no other list but Asking.
	Cached []string
	// Inner are the nodes behind, in the routes that handle a response or an error.
	Inner []string
}

// Asks notes that the selection policy of a proxy asks the BreakerNode in front, if
// there is one: own is false when it is inside of another policy. Policies call it in
// Provision.
func (a *App) Asks(h *reverseproxy.Handler, own bool) {
	if a.asks == nil {
		a.asks = make(map[*reverseproxy.Handler]*asking)
	}
	a.asks[h] = &asking{own: own}
}

// asking is what is known of a proxy that asks.
type asking struct {
	own   bool   // the policy is the proxy's own
	place string // the server and the place in its routes, of the first way to it
}

// PlaceOf returns the server and the place in its routes of a proxy whose policy asks,
// such as "srv0: routes/0/handle/1 (host example.com)"; "" when no config that runs has
// it where the app can see it.
func PlaceOf(h *reverseproxy.Handler) string {
	live.mu.Lock()
	defer live.mu.Unlock()
	for _, a := range slices.Backward(live.started) {
		if of := a.asks[h]; of != nil && of.place != "" {
			return of.place
		}
	}
	return ""
}

// breaker is one point at which requests go through a BreakerNode.
type breaker struct {
	node      BreakerNode
	where     string
	within    []condition
	reachable bool
	behind    ProxiesBehind
}

// passage is what lies between a breaker and the present point.
type passage struct {
	handled bool // the routes that handle a response or an error
	cached  bool // a cache
}

func (w *walk) breakerNode(node BreakerNode, in flows) flows {
	b := &breaker{node: node, where: w.place(), within: slices.Clone(w.within), reachable: len(in) > 0}
	for _, outer := range w.breakers {
		p, ok := w.passageFrom(outer, in)
		switch {
		case !ok:
		case p.handled:
			outer.behind.Inner = append(outer.behind.Inner, b.where)
		default:
			w.fault("edge_breaker at %s stands behind edge_breaker at %s, so that only one of them would see the backends: "+
				"remove one of them, or give each a handle block of its own, together with the proxy that it guards", b.where, outer.where)
		}
	}
	w.breakers = append(w.breakers, b)
	if routes := node.EdgeFallback(); len(routes) > 0 {
		// They run for each client, and what is in front has had its say.
		w.at("fallback/routes", func() { w.failed(func() { w.routes(routes, w.start()) }) })
	}
	out := in.clone()
	for groups, f := range out {
		f.breakers = map[*breaker]passage{b: {}}
		out[groups] = f
	}
	return out
}

// passageFrom tells what lies between b and the present point. It is false when no
// request comes here through b.
func (w *walk) passageFrom(b *breaker, in flows) (p passage, ok bool) {
	for _, f := range in {
		if one, passed := f.breakers[b]; passed && !exclusive(b.within, w.within) {
			if ok {
				one = p.least(one)
			}
			p, ok = one, true
		}
	}
	return p, ok
}

// least returns what lies on both ways.
func (p passage) least(o passage) passage {
	return passage{handled: p.handled && o.handled, cached: p.cached && o.cached}
}

// pass notes what lies between the breakers in front and what comes now.
func (fs flows) pass(p passage) flows {
	out := fs.clone()
	for _, f := range out {
		for b, one := range f.breakers {
			f.breakers[b] = passage{handled: one.handled || p.handled, cached: one.cached || p.cached}
		}
	}
	return out
}

// guardedProxy notes a proxy for the breakers in front.
func (w *walk) guardedProxy(h *reverseproxy.Handler, in flows) {
	of, asks := w.asks[h]
	if asks && of.place == "" {
		of.place = w.server + ": " + w.place()
	}
	for _, b := range w.breakers {
		p, ok := w.passageFrom(b, in)
		if !ok {
			continue
		}
		at := w.place()
		if asks {
			b.behind.Asking = append(b.behind.Asking, at)
		}
		switch {
		case p.cached:
			b.behind.Cached = append(b.behind.Cached, at)
		case !asks:
			b.behind.Plain = append(b.behind.Plain, at)
		case !of.own:
			b.behind.Bound = append(b.behind.Bound, at)
		}
	}
}

// checkBreakers refuses those to which no request can come, and tells the others what
// is behind them.
func (w *walk) checkBreakers() {
	behind := make(map[BreakerNode]*ProxiesBehind)
	reachable := make(map[BreakerNode]bool)
	var nodes []BreakerNode
	for _, b := range w.breakers {
		all := behind[b.node]
		if all == nil {
			all = new(ProxiesBehind)
			behind[b.node] = all
			nodes = append(nodes, b.node)
		}
		reachable[b.node] = reachable[b.node] || b.reachable
		all.Asking = append(all.Asking, b.behind.Asking...)
		all.Bound = append(all.Bound, b.behind.Bound...)
		all.Plain = append(all.Plain, b.behind.Plain...)
		all.Cached = append(all.Cached, b.behind.Cached...)
		all.Inner = append(all.Inner, b.behind.Inner...)
	}
	for _, b := range w.breakers {
		if !reachable[b.node] {
			w.fault("edge_breaker at %s can never be reached, because what stands in front of it answers all requests: "+
				"put it in front of the proxy that it guards (in a Caddyfile with handle blocks, inside the block)", b.where)
		}
	}
	for _, node := range nodes {
		node.EdgeProxies(*behind[node])
	}
}
