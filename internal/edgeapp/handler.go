package edgeapp

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// handler returns the ways that lead behind the handler and whether a request
// may end in it. Handlers that are not known are taken to call the next one.
func (w *walk) handler(h caddyhttp.MiddlewareHandler, in flows) (out flows, ends bool) {
	switch h := h.(type) {
	case CacheNode:
		return w.cacheNode(h, in), false
	case BreakerNode:
		return w.breakerNode(h, in), false
	case GuardNode:
		return w.guardNode(h, moduleName(h), in), false
	case *caddyhttp.Subroute:
		return w.subroute(h, in)
	case *caddyhttp.Invoke:
		return w.invoke(h, in)
	case *caddyauth.Authentication:
		w.checkGate(in, "authentication")
		return in, len(in) > 0
	case *reverseproxy.Handler:
		return w.proxy(h, in)
	}
	if !harmless(h) {
		w.checkChoice(in, h)
	}
	switch h := h.(type) {
	case *caddyhttp.StaticResponse:
		// Early hints are not the final response.
		if h.StatusCode == earlyHints {
			return in, false
		}
		return nil, len(in) > 0
	case *caddyhttp.StaticError:
		return nil, len(in) > 0
	case *fileserver.FileServer:
		if h.PassThru {
			return in, len(in) > 0
		}
		return nil, len(in) > 0
	case *intercept.Intercept:
		// Its routes run on the way back, so nothing goes on behind them.
		w.responseRoutes(h.HandleResponse, in)
		return in, false
	case *rewrite.Rewrite:
		return w.rewritten(in), false
	case *caddyhttp.VarsMiddleware:
		return w.vars(*h, in), false
	case *headers.Handler:
		return w.requestFields(h.Request, in), false
	default:
		return in, false
	}
}

// harmless reports whether h may stand behind a cache for some clients only: it
// leaves the response alone, or puts in its place an error that is never stored.
func harmless(h caddyhttp.MiddlewareHandler) bool {
	if vars, ok := h.(*caddyhttp.VarsMiddleware); ok {
		_, skipsLog := (*vars)[caddyhttp.LogSkipVar]
		return len(*vars) == 0 || len(*vars) == 1 && skipsLog
	}
	switch moduleName(h) {
	case "edge_adaptive", "edge_limit", "encode", "log_append", "request_body", "tracing":
		return true
	}
	return false
}

var earlyHints = caddyhttp.WeakString(strconv.Itoa(http.StatusEarlyHints))

func (w *walk) cacheNode(node CacheNode, in flows) flows {
	c := &cache{
		node:      node,
		info:      node.EdgeCacheNode(),
		where:     w.place(),
		within:    slices.Clone(w.within),
		reachable: len(in) > 0,
	}
	c.selector = w.selector(&c.info.Key)
	w.checkBrought(in, c)
	w.caches = append(w.caches, c)
	w.purgedThrough(in, c)
	out := in.pass(passage{cached: true})
	for _, f := range out {
		f.passed[c] = ""
	}
	return out
}

func (w *walk) subroute(h *caddyhttp.Subroute, in flows) (out flows, ends bool) {
	w.at("routes", func() { out, ends = w.routes(h.Routes, in) })
	if h.Errors == nil {
		return out, ends
	}
	// An error leaves the caches inside the subroute, but what handles it is
	// still behind those in front of the subroute.
	w.at("errors/routes", func() {
		w.failed(func() {
			handled, handledEnds := w.routes(h.Errors.Routes, in.pass(passage{handled: true}))
			out, ends = out.join(handled, w.fresh), ends || handledEnds
		})
	})
	return out, ends
}

func (w *walk) invoke(h *caddyhttp.Invoke, in flows) (out flows, ends bool) {
	route, ok := w.named[h.Name]
	// A route that invokes itself never comes to an end.
	if !ok || slices.Contains(w.invoking, h.Name) {
		return nil, len(in) > 0
	}
	w.invoking = append(w.invoking, h.Name)
	w.at("named_routes/"+h.Name, func() { out, ends = w.routes(caddyhttp.RouteList{*route}, in) })
	w.invoking = w.invoking[:len(w.invoking)-1]
	return out, ends
}

func (w *walk) proxy(h *reverseproxy.Handler, in flows) (out flows, ends bool) {
	w.guardedProxy(h, in)
	// This is what the forward_auth directive becomes: the request's copy asks
	// another server, and a good answer lets the request go on.
	if len(h.HandleResponse) > 0 && h.Rewrite != nil && h.Rewrite.Method == http.MethodGet {
		w.checkGate(in, "forward_auth")
	} else {
		w.checkChoice(in, h)
	}
	return w.responseRoutes(h.HandleResponse, in), len(in) > 0
}

// responseRoutes walks the routes that handle a backend's response and returns
// the ways that lead behind all of them.
func (w *walk) responseRoutes(handlers []caddyhttp.ResponseHandler, in flows) flows {
	out := make(flows)
	in = in.pass(passage{handled: true})
	for i, rh := range handlers {
		// A status code takes priority over routes.
		if rh.StatusCode != "" {
			continue
		}
		w.at("handle_response/"+strconv.Itoa(i)+"/routes", func() {
			behind, _ := w.routes(rh.Routes, in)
			out = out.join(behind, w.fresh)
		})
	}
	return out
}

func (w *walk) rewritten(in flows) flows {
	out := in.clone()
	epoch := w.fresh()
	for groups, f := range out {
		f.epoch = epoch
		out[groups] = f
	}
	return out
}
