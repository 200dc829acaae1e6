package edgebreaker

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy/fastcgi"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgebreaker/balance"
	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/poolref"
	"github.com/caddyedge/caddy-edge/internal/upstreamhint"
)

func init() {
	caddy.RegisterModule(new(Policy))
}

// Policy is the selection policy that goes by the breakers: it chooses among the
// backends that edge_breaker in front lets it ask. Without edge_breaker it only
// balances.
type Policy struct {
	// Method is "wrr" (smooth weighted round robin), "least_conn" (fewest requests
	// under way for the weight) or "p2c" (the better of two, by latency times
	// requests under way). Default: wrr.
	Method string `json:"method,omitempty"`
	// Weights are those of the upstreams, in their order, 1 to 65535. Default: 1
	// each.
	Weights []int `json:"weights,omitempty"`
	// Upstreams restricts the addresses of the upstreams. Default: all are allowed.
	Upstreams *UpstreamRules `json:"upstreams,omitempty"`

	picker   *balance.Picker
	p2c      bool
	guard    *guard
	registry *poolref.Ref[*registry]
	proxy    *reverseproxy.Handler
	held     []*member   // whose backends the registry keeps for the proxy
	labels   []*counters // of the config's upstreams
	logger   *zap.Logger
	alone    sync.Once // the notice that there is no edge_breaker

	table table
	// rules are those of the edge_breaker that asked last, for the admin API.
	rules atomic.Pointer[breaker.Config]
	// noRetries is set when the proxy never sends a request again, so that each error
	// is told; noRoutes when it handles no response by routes; traced when its
	// transport reports to httptrace; streams when that has HTTP/2 or 3 without TLS
	// telling so; dynamic when the proxy looks its upstreams up.
	noRetries, noRoutes, traced, streams, dynamic bool
}

// CaddyModule returns the Caddy module information.
func (*Policy) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.selection_policies.edge",
		New: func() caddy.Module { return new(Policy) },
	}
}

// mostWeight is the greatest weight.
const mostWeight = 65535

// Provision checks the options.
func (p *Policy) Provision(ctx caddy.Context) error {
	p.logger = ctx.Logger()
	orDefault(&p.Method, balance.WRR.String())
	method, ok := balance.ParsePolicy(p.Method)
	if !ok {
		return fmt.Errorf("lb_policy edge: unknown method %q: want wrr, least_conn or p2c", p.Method)
	}
	for _, w := range p.Weights {
		if w < 1 || w > mostWeight {
			return fmt.Errorf("lb_policy edge: weights: invalid weight %d: must be from 1 to %d", w, mostWeight)
		}
	}
	p.picker, p.p2c = balance.New(method, nil), method == balance.P2C
	var err error
	if p.guard, err = newGuard(p.Upstreams, p.logger); err != nil {
		return fmt.Errorf("lb_policy edge: upstreams: %w", err)
	}
	if err := p.checkProxy(ctx); err != nil {
		return err
	}
	app, err := edgeapp.From(ctx)
	if err != nil {
		return err
	}
	p.introduce(ctx, app)
	if p.registry, err = takeRegistry(); err != nil {
		return err
	}
	app.OnStart(func() error {
		p.hold()
		policies.Store(p, true)
		return nil
	})
	return registerMetrics(ctx)
}

// Cleanup leaves the backends to later configurations, if there are any.
func (p *Policy) Cleanup() error {
	policies.Delete(p)
	p.guard.close()
	for _, m := range p.held {
		p.registry.Value().Release(m.backend.Swap(nil))
	}
	p.held = nil
	for _, c := range p.labels {
		collectors().release(c)
	}
	p.labels = nil
	return p.registry.Release()
}

// checkProxy checks what depends on the proxy, whose upstreams and transport are
// known by the time that its policy is provisioned.
func (p *Policy) checkProxy(ctx caddy.Context) error {
	modules := ctx.Modules()
	if outer := modules[max(len(modules)-2, 0)]; p.Upstreams != nil && !isProxy(outer) {
		return fmt.Errorf("lb_policy edge: upstreams: not inside of %s, which chooses backends without asking for their addresses", outer.CaddyModule().ID)
	}
	h := proxyOf(modules)
	switch {
	case h == nil:
		return nil
	case len(p.Weights) == 0:
	case len(h.DynamicUpstreamsRaw) > 0:
		return fmt.Errorf("lb_policy edge: weights: not with dynamic upstreams, which have none")
	case len(p.Weights) != len(h.Upstreams):
		return fmt.Errorf("lb_policy edge: weights: there are %d %v for %d upstreams", len(p.Weights), p.Weights, len(h.Upstreams))
	}
	warn := func(err error) { p.logger.Warn("the address of an upstream is not known yet", zap.Error(err)) }
	if err := p.guard.checkProxy(h, warn); err != nil {
		return fmt.Errorf("lb_policy edge: upstreams: %w", err)
	}
	return nil
}

// proxyOf returns the proxy that a policy chooses for, by the modules around it, also
// when it is inside of another policy.
func proxyOf(modules []caddy.Module) *reverseproxy.Handler {
	for _, m := range slices.Backward(modules) {
		if h, ok := m.(*reverseproxy.Handler); ok {
			return h
		}
	}
	return nil
}

func isProxy(m caddy.Module) bool {
	_, ok := m.(*reverseproxy.Handler)
	return ok
}

// introduce notes what the choice depends on of the proxy.
func (p *Policy) introduce(ctx caddy.Context, app *edgeapp.App) {
	modules := ctx.Modules()
	h := proxyOf(modules)
	if h == nil {
		return
	}
	p.proxy = h
	p.table.chosen = hasPlaceholder(h.DynamicUpstreamsRaw)
	p.table.named = make(map[string]bool)
	for _, u := range h.Upstreams {
		p.table.named[u.Dial] = true
	}
	app.Asks(h, isProxy(modules[len(modules)-2]))
	p.noRetries = h.LoadBalancing.Retries == 0 && h.LoadBalancing.TryDuration == 0
	p.dynamic = len(h.DynamicUpstreamsRaw) > 0
	p.noRoutes = len(h.HandleResponse) == 0
	t, ok := h.Transport.(*reverseproxy.HTTPTransport)
	p.traced = ok
	p.streams = ok && (slices.Contains(t.Versions, "h2c") || slices.Contains(t.Versions, "3"))
	p.traced = p.traced || h.Transport == nil // it is that one by default, and made later
	if t, ok := h.Transport.(*fastcgi.Transport); ok && t.ReadTimeout == 0 {
		p.logger.Warn("the transport fastcgi has no read_timeout, and nothing else ends its wait: the deadlines of edge_breaker only count a failure when a backend hangs")
	}
}

// hold keeps the backends of the config, so that they can be seen, and forced, before
// there are requests, and that addresses which clients choose do not drive them out.
func (p *Policy) hold() {
	if p.proxy == nil || p.labels != nil {
		return
	}
	for _, u := range p.proxy.Upstreams {
		p.labels = append(p.labels, collectors().hold(newMember(u.Dial, 1).label()))
	}
	if p.table.chosen {
		p.labels = append(p.labels, collectors().hold(dynamicLabel))
	}
	for _, m := range p.table.of(p.proxy.Upstreams, p.Weights) {
		if m.address != "" {
			m.backend.Store(p.registry.Value().Hold(m.address))
			p.held = append(p.held, m)
		}
	}
}

// hasPlaceholder reports whether there may be a placeholder in the options of a module.
func hasPlaceholder(options json.RawMessage) bool {
	var value any
	if err := json.Unmarshal(options, &value); err != nil {
		return false // there are none
	}
	var within func(any) bool
	within = func(value any) bool {
		switch v := value.(type) {
		case string:
			return strings.Contains(v, "{")
		case []any:
			return slices.ContainsFunc(v, within)
		case map[string]any:
			return slices.ContainsFunc(slices.Collect(maps.Values(v)), within)
		}
		return false
	}
	return within(value)
}

// nobodyLeft is what ends the proxy's loop at once: its address can't be dialled.
// For nil the proxy would go on asking until its try_duration is over.
var nobodyLeft = &reverseproxy.Upstream{Host: new(reverseproxy.Host), Dial: "edge_breaker:1-2"}

// Select implements reverseproxy.Selector. The proxy calls it for each attempt.
func (p *Policy) Select(pool reverseproxy.UpstreamPool, r *http.Request, _ http.ResponseWriter) *reverseproxy.Upstream {
	rec := recordOf(r)
	if rec == nil {
		return p.balanceOnly(pool, r)
	}
	now := time.Now()
	h := rec.handler
	if p.rules.Load() != &h.rules {
		p.rules.Store(&h.rules)
	}
	if rec.route {
		rec.leaveRoute(now)
	}
	rec.conclude(now, nil, false, false)
	upstreamhint.Passed(rec.base) // a mark of somebody else's attempt is none of ours
	again := rec.proxy == r       // Caddy passes the same one for all attempts
	retry := again && rec.tries.n > rec.before
	if again && p.dynamic && r.Context().Err() != nil {
		// The proxy has looked its upstreams up with a context that our deadline had
		// ended, and found none, or those that are there for such a case.
		pool = rec.pool
	}
	if !again {
		rec.proxy, rec.before, rec.ended, rec.refused = r, rec.tries.n, goesOn, refusal{}
		rec.proxyCtx, rec.pool = r.Context(), nil
		if p.dynamic {
			rec.pool = pool
		}
		if rec.content != nil {
			rec.buffered = rec.body.closing.Load()
			rec.body.asks()
		}
		h.budget.Request(now)
	}
	if retry {
		if rec.ended = rec.again(now, r); rec.ended != goesOn {
			collectors().retries[rec.ended].Inc()
			return nobodyLeft
		}
	}
	s := p.selection(rec, rec.repl)
	defer s.done()
	u, ends := s.choose(pool, r, now, again)
	switch {
	case u != nil && retry:
		collectors().retries[goesOn].Inc()
	case u == nil && retry:
		h.budget.Unused(now)
	}
	if u == nil && ends {
		if retry {
			rec.ended = endBackend
			collectors().retries[endBackend].Inc()
		}
		return nobodyLeft
	}
	return u
}

// prepare gives the proxy's request the deadlines of the attempt, and where the
// proxy may try again a trace of the connection.
func (p *Policy) prepare(rec *record, r *http.Request, again bool) {
	rec.nests, rec.streams = !p.noRoutes, p.streams
	ctx := rec.limited(r, again)
	switch {
	case p.noRetries:
		rec.trace = nil
	case again && rec.trace != nil && ctx == nil:
		rec.trace.reset()
	default:
		if ctx == nil {
			ctx = r.Context()
		}
		rec.trace = newTrace(p.traced)
		ctx = httptrace.WithClientTrace(ctx, &rec.trace.hooks)
	}
	if ctx != nil {
		// The proxy goes on with what r points to.
		*r = *r.WithContext(ctx)
	}
}

// balanceOnly chooses without a record: nobody in front judges the backends.
func (p *Policy) balanceOnly(pool reverseproxy.UpstreamPool, r *http.Request) *reverseproxy.Upstream {
	p.alone.Do(func() {
		p.logger.Info("lb_policy edge without edge_breaker in front: it balances, but no backend is ever taken out")
	})
	repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	s := p.selection(nil, repl)
	defer s.done()
	s.collect(r.Context(), pool, time.Now())
	i := p.picker.Pick(s.candidates)
	if i < 0 {
		return s.broken
	}
	return s.who[i].dialled()
}

// noRules are for those who only balance.
var noRules = breaker.Config{Ramp: breaker.Ramp{Shares: defaultSteps, Each: DefaultStep}}

// Interface guards
var (
	_ caddy.Provisioner     = (*Policy)(nil)
	_ caddy.CleanerUpper    = (*Policy)(nil)
	_ reverseproxy.Selector = (*Policy)(nil)
)
