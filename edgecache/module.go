package edgecache

import (
	"net/netip"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgecache/rfc9111"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/poolref"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Handler is a shared HTTP cache (RFC 9111) in front of the next handlers.
//
// Without any option it stores what the origin explicitly allows a shared cache
// to store, serves and validates it as the RFC says, and collapses concurrent
// requests for one response into one fetch that streams to all of them. It
// stores in memory, within the budget of the edge app, shared by all sites and
// kept over configuration reloads.
type Handler struct {
	// Namespace separates the responses of this handler from those of others
	// on the same host. Two handlers on one host whose routes differ by
	// anything but the path must have different ones. Default: none.
	Namespace string `json:"namespace,omitempty"`

	// Name is this cache's name in Cache-Status (RFC 9211). Default: edge.
	Name string `json:"name,omitempty"`

	// StatusHeader is the response field that carries the cache status; "off"
	// sends none. Default: Cache-Status.
	StatusHeader string `json:"status_header,omitempty"`

	// DebugHeaders adds X-Edge-Cache (HIT, MISS, BYPASS, STORE, EXPIRED,
	// ERROR), X-Edge-Cache-TTL and X-Edge-Cache-Age to responses. Default: false.
	DebugHeaders bool `json:"debug_headers,omitempty"`

	Freshness

	// Rules change the options for some requests; the first match applies.
	Rules []*Rule `json:"rules,omitempty"`

	// Key adds to the key, or takes from it.
	Key KeyRules `json:"key,omitzero"`

	// ClientControl says what a client's no-cache, max-age and the like do:
	// "collapse" obeys with at most one forced validation per response and
	// second, "honour" obeys always, "ignore" never. only-if-cached is always
	// obeyed. Default: collapse.
	ClientControl string `json:"client_control,omitempty"`

	// Languages are the languages the origin has; Accept-Language becomes the
	// one that fits best, the first if none does. Default: none, the field is
	// left alone.
	Languages []string `json:"normalize_language,omitempty"`

	// BypassCookies are names of cookies, * stands for any characters, whose
	// presence sends a request past the cache. All other cookies are then
	// harmless: ttl, heuristic and negative_ttl apply to requests with them.
	// Default: none.
	BypassCookies []string `json:"bypass_cookies,omitempty"`

	// MaxObjectSize is the largest body in bytes that is stored. Default: 32 MiB.
	MaxObjectSize int64 `json:"max_object_size,omitempty"`

	// MaxVariants is how many variants (Vary) of one URL are stored, over
	// configuration reloads too; the oldest goes first. Default: 64.
	MaxVariants int `json:"max_variants,omitempty"`

	// Collapse configures request collapsing.
	Collapse Collapse `json:"collapse,omitzero"`

	// FetchTimeout bounds a fetch until its response header, and to its end
	// when no client waits for it. Default: 5m.
	FetchTimeout caddy.Duration `json:"fetch_timeout,omitempty"`

	// TagHeaders are the response fields that name tags to purge by, separated
	// by spaces or commas. Default: Surrogate-Key, Cache-Tag. Cache-Groups
	// (RFC 9875) always counts.
	TagHeaders []string `json:"tag_headers,omitempty"`

	// RequestHeaders says what happens to fields such as X-Forwarded-Host and
	// X-Original-URL, which origins act on although they are in no cache's
	// key: "strip" does not forward them for cacheable requests, "key" makes
	// them part of the key, "trust" forwards them. Default: strip.
	RequestHeaders HeaderPolicy `json:"request_headers,omitempty"`

	// AllowHeaders, when set, are the only request fields that are forwarded
	// for cacheable requests, beside the usual negotiating and identifying
	// ones. Default: not set, all fields are forwarded.
	AllowHeaders []string `json:"allow_headers,omitempty"`

	// DeceptionArmorOff stores a response under the name of a static file (by
	// its extension) even if its Content-Type is of another kind. Default:
	// false, such a response is not stored.
	DeceptionArmorOff bool `json:"deception_armor_off,omitempty"`

	// DevelopmentUntil is a time (RFC 3339) until which everything bypasses
	// the cache. Default: none.
	DevelopmentUntil string `json:"development_until,omitempty"`

	// PurgeAllow are the addresses or CIDRs from which PURGE requests are
	// accepted; others get 405. Default: none.
	PurgeAllow []string `json:"purge_allow,omitempty"`

	name          string
	statusField   string
	policy        *rfc9111.Options
	keyer         *keyer
	headers       HeaderPolicy
	strict        []string
	armor         bool
	devUntil      time.Time
	purgeAllow    []netip.Prefix
	maxObjectSize int64
	maxWaiters    int
	waitTimeout   time.Duration
	fetchTimeout  time.Duration
	stallTimeout  time.Duration
	tagHeaders    []string

	ref     *poolref.Ref[*shared]
	shared  *shared
	flights *flights
	marks   *marks
	forced  *marks
	metrics *recorder
	logger  *zap.Logger
}

// maxKeyLength is the longest key that is stored.
const maxKeyLength = 16 << 10

// stallTimeout is how long a client may take nothing while others, or the
// origin, wait for it: Caddy's default for idle writes.
const stallTimeout = time.Minute

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.edge_cache",
		New: func() caddy.Module { return new(Handler) },
	}
}

// EdgeCacheNode lets the edge app find the handler when it checks the routes.
func (h *Handler) EdgeCacheNode() edgeapp.CacheInfo {
	return edgeapp.CacheInfo{Namespace: h.Namespace, PurgeAllow: h.purgeAllow, Key: edgeapp.CacheKey{
		Headers: h.Key.Headers, Cookies: h.Key.Cookies, Values: h.Key.Values,
		IgnoreHost: h.Key.IgnoreHost, IgnoreScheme: h.Key.IgnoreScheme,
		Parameter: h.keyer.query.parameter(), Forwards: h.forwards,
	}}
}

// forwards reports whether a field that is not in the key reaches the origin
// with a cacheable request.
func (h *Handler) forwards(field string) bool {
	if h.strict != nil && !slices.Contains(h.strict, field) {
		return false
	}
	return h.headers == HeadersTrust || !unkeyed(field)
}

// Provision checks the options, and joins the shared store.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	if err := h.provisionOptions(); err != nil {
		return err
	}
	if err := h.provisionRules(ctx); err != nil {
		return err
	}
	app, err := edgeapp.From(ctx)
	if err != nil {
		return err
	}
	if h.metrics, err = newRecorder(ctx); err != nil {
		return err
	}
	now := time.Now()
	h.warn(app.Memory, now)
	h.flights = newFlights()
	h.marks, h.forced = newMarks(now), newMarks(now)
	if h.ref, err = pool.Take(sharedKey, newShared); err != nil {
		return err
	}
	h.shared = h.ref.Value()
	budget := app.Memory
	app.OnStart(func() error {
		if budget > h.shared.memory.Ledger().Budget() {
			h.shared.memory.SetBudget(budget)
		}
		return nil
	})
	// A smaller one drops responses, which a config that is rejected must not do.
	app.OnSettled(func() { h.shared.memory.SetBudget(budget) })
	return nil
}

// Cleanup ends fetches that no client waits for and leaves the shared store.
func (h *Handler) Cleanup() error {
	if h.flights != nil {
		h.flights.stop()
	}
	return h.ref.Release()
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ edgeapp.CacheNode           = (*Handler)(nil)
)
