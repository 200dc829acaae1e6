package edgecache

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

// routeGroupCtxKey is where Caddy keeps which route groups of a request have
// been satisfied; routes behind this handler must see the state of here.
const routeGroupCtxKey = caddy.CtxKey("route_group")

// front is the Replacer of a client's request whose fetch runs on another
// goroutine. The providers in it may hold on to the Replacer itself, as those of
// Caddy's map directive do, so that the fetch reads its list however it comes by
// them. So nothing is added to it from then on: what becomes known later is found
// here.
type front struct {
	before *caddy.Replacer                // what was in it, in a list of its own
	reply  atomic.Pointer[reply]          // what the client is answered
	fetch  atomic.Pointer[caddy.Replacer] // of the fetch, once that has ended
}

// newFront prepares a request's Replacer for fetches, on the client's goroutine.
// One does for all fetches of a request: with a second the fetch would find itself.
func newFront(r *http.Request) *front {
	f := new(front)
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		f.before = repl.WithoutFile()
		repl.Map(f.placeholder)
	}
	return f
}

// placeholder resolves what the cache, and the handlers behind it, tell about the
// request.
func (f *front) placeholder(key string) (any, bool) {
	switch {
	case strings.HasPrefix(key, "http.edge_cache."):
		if p := f.reply.Load(); p != nil {
			return p.placeholder(key)
		}
	case strings.HasPrefix(key, "http.reverse_proxy."), strings.HasPrefix(key, "http.edge_breaker."), strings.HasPrefix(key, "http.edge_adaptive."):
		if repl := f.fetch.Load(); repl != nil {
			return repl.Get(key)
		}
	}
	return nil, false
}

// detach gives a cloned request a Caddy context of its own, with copies of what
// the client's request has gathered so far.
func detach(r2, r *http.Request, w http.ResponseWriter, query *queryRules, front *front) *http.Request {
	parent := r.Context()
	repl := caddy.NewReplacer()
	srv, _ := parent.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	r2 = caddyhttp.PrepareRequest(r2, repl, w, srv)
	if before := front.before; before != nil {
		repl.Map(func(key string) (any, bool) {
			for _, own := range []string{"http.request.", "http.response.", "http.vars."} {
				if strings.HasPrefix(key, own) {
					return nil, false
				}
			}
			return before.Get(key)
		})
	}
	if vars, ok := parent.Value(caddyhttp.VarsCtxKey).(map[string]any); ok {
		own := r2.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
		for name, value := range vars {
			if _, bound := value.(reqinfo.Bound); !bound {
				own[name] = value
			}
		}
	}
	reqinfo.Attach(r2, new(reqinfo.Info))

	ctx := r2.Context()
	if original, ok := parent.Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		ctx = context.WithValue(ctx, caddyhttp.OriginalRequestCtxKey, query.original(original))
	}
	if groups, ok := parent.Value(routeGroupCtxKey).(map[string]struct{}); ok {
		ctx = context.WithValue(ctx, routeGroupCtxKey, maps.Clone(groups))
	}
	ctx = caddyhttp.ContextWithIdleTimeouts(ctx, nil, nil)
	// In place: the placeholders hold on to this very request.
	*r2 = *r2.WithContext(ctx)
	return r2
}
