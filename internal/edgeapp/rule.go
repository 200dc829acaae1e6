package edgeapp

import (
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
)

// checkGate refuses an access check that a cache in front would answer for.
func (w *walk) checkGate(in flows, name string) {
	for _, c := range w.inFront(in) {
		w.fault("%s at %s stands behind edge_cache at %s, so clients that it would refuse can get stored responses: "+
			"put it in front of edge_cache (in a Caddyfile, put edge_cache inside the same handle block, and move it down in route or order)",
			name, w.place(), c.where)
	}
}

// checkChoice refuses what makes the response for some clients only.
func (w *walk) checkChoice(in flows, h caddyhttp.MiddlewareHandler) {
	for _, c := range w.inFront(in) {
		what := decidedBehind(in, c)
		if what == "" {
			continue
		}
		w.fault("%s at %s depends on the client (%s) and stands behind edge_cache at %s, so that some clients would get the stored responses of others: "+
			"put it in front of edge_cache (in a Caddyfile, in a handle block, or move edge_cache down in route or order; "+
			"with an edge_cache and a namespace of its own where it is to be cached), or make what decides part of the key (%s)",
			directive(h), w.place(), what, c.where, keyOption(what))
	}
}

// keyOption is the option of edge_cache that brings what is named into the key.
func keyOption(what string) string {
	kind, names, _ := strings.Cut(what, " ")
	switch kind {
	case "header", "header_regexp":
		return "key header " + names
	case "query":
		return "key query"
	default:
		return "key header, cookie or value"
	}
}

// directive names the directive that made h.
func directive(h caddyhttp.MiddlewareHandler) string {
	switch h := h.(type) {
	case *caddyhttp.StaticError:
		return "error"
	case *caddyhttp.StaticResponse:
		switch {
		case h.Abort:
			return "abort"
		case strings.HasPrefix(string(h.StatusCode), "3") && h.Headers.Get("Location") != "":
			return "redir"
		}
		return "respond"
	case caddyhttp.VarsMiddleware:
		if _, ok := h["root"]; ok {
			return "root"
		}
	case *caddyhttp.VarsMiddleware:
		return directive(*h)
	case *headers.Handler:
		if h.Request != nil {
			return "request_header"
		}
		return "header"
	}
	return moduleName(h)
}

// inFront returns the caches that a request may pass before it comes to the
// present point.
func (w *walk) inFront(in flows) []*cache {
	var found []*cache
	for _, c := range w.caches {
		for _, f := range in {
			if _, passed := f.passed[c]; passed && !exclusive(c.within, w.within) {
				found = append(found, c)
				break
			}
		}
	}
	return found
}

// decidedBehind names what has decided behind c on one of the ways, or returns
// "".
func decidedBehind(in flows, c *cache) string {
	for _, groups := range sortedKeys(in) {
		if what := in[groups].passed[c]; what != "" {
			return what
		}
	}
	return ""
}

// checkReachable refuses handlers to which no request can come.
func (w *walk) checkReachable() {
	reachable := make(map[CacheNode]bool)
	for _, c := range w.caches {
		reachable[c.node] = reachable[c.node] || c.reachable
	}
	for _, c := range w.caches {
		if !reachable[c.node] {
			w.fault("edge_cache at %s can never be reached, because what stands in front of it answers all requests: "+
				"put it in front of that (in a Caddyfile with handle blocks, inside each block)", c.where)
		}
	}
}

// checkNamespaces refuses handlers that share keys but are chosen by something
// that is not in the key.
func (w *walk) checkNamespaces() {
	for i, a := range w.caches {
		for _, b := range w.caches[:i] {
			if a.node == b.node || a.selector == b.selector || !a.reachable || !b.reachable {
				continue
			}
			if a.info.Namespace == b.info.Namespace && !exclusive(a.info.Key.conditions(a.within), b.info.Key.conditions(b.within)) {
				w.fault("edge_cache at %s and edge_cache at %s may serve the same URLs but are chosen by %s, so that one would serve what the other stored: "+
					"give one of them a namespace of its own", b.where, a.where, difference(a, b))
			}
		}
	}
}

// difference names what tells two caches apart.
func difference(a, b *cache) string {
	switch {
	case a.selector == "":
		return b.selector
	case b.selector == "":
		return a.selector
	default:
		return b.selector + " and " + a.selector
	}
}
