package edgeapp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// CacheNode is implemented by handlers that answer from a shared cache. It is
// how the app recognises them in the route tree.
type CacheNode interface {
	EdgeCacheNode() CacheInfo
}

// CacheInfo is what the app must know of a cache handler.
type CacheInfo struct {
	// Namespace separates the keys of handlers. Handlers of one server with the
	// same one, the empty one included, share their stored responses; those of
	// different servers never do.
	Namespace string

	// Key says what else is part of the key.
	Key CacheKey

	// PurgeAllow are the clients whose PURGE requests the handler answers.
	PurgeAllow []netip.Prefix
}

// CheckRoutes refuses the config when an HTTP server uses a cache or breaker wrongly,
// and tells the breakers and guards what is behind them. The routes are read once, and only after
// all modules were provisioned.
func (a *App) CheckRoutes() error { return a.checkOnce() }

func (a *App) checkRoutes() error {
	app, err := a.ctx.AppIfConfigured("http")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil
	}
	if err != nil {
		return err
	}
	var faults []error
	servers := app.(*caddyhttp.App).Servers
	for _, name := range sortedKeys(servers) {
		faults = append(faults, checkServer(name, servers[name], a.asks)...)
	}
	return errors.Join(faults...)
}

// checkServer returns the faults of one provisioned server, and notes where the proxies
// are that ask.
func checkServer(name string, server *caddyhttp.Server, asks map[*reverseproxy.Handler]*asking) []error {
	w := &walk{server: name, named: server.NamedRoutes, asks: asks}
	w.at("routes", func() { w.routes(server.Routes, w.start()) })
	if server.Errors != nil {
		// The error routes run for each client, in front of all caches but
		// those among themselves.
		w.at("errors/routes", func() { w.failed(func() { w.routes(server.Errors.Routes, w.start()) }) })
	}
	w.checkReachable()
	w.checkNamespaces()
	w.checkBreakers()
	w.tellGuards()
	return w.faults
}

// walk is one pass over a server's routes in the order in which requests go
// through them.
type walk struct {
	server   string
	named    map[string]*caddyhttp.Route
	asks     map[*reverseproxy.Handler]*asking // see App.Asks
	invoking []string

	// where, within, around and failures describe the present point: its place
	// in the config, the conditions under which a request comes here, the
	// matchers of the routes around it, and in how many error routes it is.
	where    []string
	within   []condition
	around   []caddyhttp.MatcherSets
	failures int

	epochs   int
	caches   []*cache
	breakers []*breaker
	guards   []*guard
	faults   []error
}

// cache is one point at which requests go through a cache. A handler in a named
// route may be at several.
type cache struct {
	node      CacheNode
	info      CacheInfo
	where     string
	within    []condition
	selector  string
	reachable bool
}

func (w *walk) start() flows {
	return flows{"": {passed: map[*cache]string{}, brought: brought{}, breakers: map[*breaker]passage{}, guards: map[*guard]bool{}, epoch: w.fresh()}}
}

func (w *walk) fresh() int {
	w.epochs++
	return w.epochs
}

// at calls f with place appended to the present point's.
func (w *walk) at(place string, f func()) {
	w.where = append(w.where, place)
	f()
	w.where = w.where[:len(w.where)-1]
}

// routes returns the ways that lead behind the list, and whether a request may
// end inside.
func (w *walk) routes(list caddyhttp.RouteList, in flows) (out flows, ends bool) {
	groups := make(map[string]bool)
	outside := len(w.within)
	for i, route := range list {
		groups[route.Group] = true
		enter, _ := in.split(route.Group)
		epoch := enter.epoch(w.fresh)
		var survives, routeEnds bool
		w.at(strconv.Itoa(i), func() { in, survives, routeEnds = w.route(route, in, epoch) })
		ends = ends || routeEnds
		if !survives && route.Group == "" {
			w.within = append(w.within, opposite(route.MatcherSets, epoch)...)
		}
	}
	w.within = w.within[:outside]
	return in.forget(groups, w.fresh), ends
}

// opposite is the condition of the requests that do not match sets, as far as
// it can be told.
func opposite(sets caddyhttp.MatcherSets, epoch int) []condition {
	if len(sets) != 1 || len(sets[0]) != 1 {
		return nil
	}
	if _, not := sets[0][0].(*caddyhttp.MatchNot); not {
		return nil
	}
	c := positive(sets[0][0], epoch)
	c.not = true
	return []condition{c}
}

// route returns the ways that lead behind the route, whether some of them went
// through its handlers, and whether a request may end inside.
func (w *walk) route(r caddyhttp.Route, in flows, epoch int) (out flows, survives, ends bool) {
	enter, out := in.split(r.Group)
	entered := enter.satisfy(r.Group)

	outside, around := len(w.within), len(w.around)
	w.within = append(w.within, conditions(r.MatcherSets, epoch)...)
	w.around = append(w.around, r.MatcherSets)
	decided := w.decided(r.MatcherSets)
	faults := len(w.faults)
	var inside flows
	w.at("handle", func() { inside, ends = w.handlers(r.Handlers, entered.decide(decided)) })
	w.within, w.around = w.within[:outside], w.around[:around]

	if r.Terminal && len(inside) > 0 {
		inside, ends = nil, true
	}
	// When all requests go on, the same handlers follow for all of them, so
	// nothing was decided. Later routes of the group tell them apart again.
	// A route that was refused is not held against those behind it as well.
	decides := (ends || r.Group != "") && len(w.faults) == faults
	if !decides {
		inside = inside.undecide(entered)
	}
	if conditional(r.MatcherSets) {
		skip := enter
		if decides {
			skip = skip.decide(decided)
		}
		out = out.join(skip, w.fresh)
	}
	return out.join(inside, w.fresh), len(inside) > 0, ends
}

// decided returns, for the caches whose requests may come to the present point,
// what the matchers look at that is not in the key.
func (w *walk) decided(sets caddyhttp.MatcherSets) map[*cache]string {
	by := make(map[*cache]string)
	for _, c := range w.caches {
		if what := c.info.Key.decides(sets); what != "" && !exclusive(c.within, w.within) {
			by[c] = what
		}
	}
	return by
}

// failed calls f for the routes that run after an error: the page that they make
// must not take the place of the one that failed.
func (w *walk) failed(f func()) {
	w.failures++
	f()
	w.failures--
}

// selector describes what tells the requests that come here apart from others
// with the same key.
func (w *walk) selector(k *CacheKey) string {
	var parts []string
	if w.failures > 0 {
		parts = append(parts, "an error")
	}
	for _, sets := range w.around {
		if s := k.selector(sets); s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ", ")
}

// conditional reports whether a request may fail to match sets.
func conditional(sets caddyhttp.MatcherSets) bool {
	return len(sets) > 0 && !slices.ContainsFunc(sets, func(set caddyhttp.MatcherSet) bool { return len(set) == 0 })
}

func (w *walk) handlers(handlers []caddyhttp.MiddlewareHandler, in flows) (out flows, ends bool) {
	for i, handler := range handlers {
		w.at(strconv.Itoa(i), func() {
			var handlerEnds bool
			in, handlerEnds = w.handler(handler, in)
			ends = ends || handlerEnds
		})
	}
	return in, ends
}

// place is the present point as a path of Caddy's config API below the server,
// with the hosts and paths that lead there.
func (w *walk) place() string {
	text := strings.Join(w.where, "/")
	var about []string
	for _, c := range w.within {
		switch {
		case c.not:
		case c.kind == onHost:
			about = append(about, "host "+strings.Join(c.values, " "))
		case c.kind == onPath:
			about = append(about, "path "+strings.Join(c.values, " "))
		}
	}
	if len(about) > 0 {
		text += " (" + strings.Join(about, ", ") + ")"
	}
	return text
}

func (w *walk) fault(format string, args ...any) {
	err := fmt.Errorf("http server %s (see caddy adapt): %w", w.server, fmt.Errorf(format, args...))
	if !slices.ContainsFunc(w.faults, func(have error) bool { return have.Error() == err.Error() }) {
		w.faults = append(w.faults, err)
	}
}
