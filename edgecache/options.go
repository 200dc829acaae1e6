package edgecache

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/edgecache/rfc9111"
	"github.com/caddyedge/caddy-edge/internal/cfparse"
)

// Defaults of the options whose zero value means "the default".
const (
	DefaultName          = "edge"
	DefaultMaxObjectSize = 32 << 20
	DefaultMaxVariants   = 64
	DefaultFetchTimeout  = 5 * time.Minute
	DefaultMaxWaiters    = 10_000
	DefaultWaitTimeout   = 30 * time.Second
)

// Freshness holds the options that change how long responses may be used. The
// zero value is RFC 9111 as it stands: only what the origin says.
type Freshness struct {
	// TTL is the freshness lifetime of a successful response when the origin
	// gives none at all. It is not for responses to requests with a Cookie, unless
	// they say public or s-maxage, or BypassCookies is set; nor are Heuristic and
	// NegativeTTL. Default: 0, such responses are not reused.
	TTL caddy.Duration `json:"ttl,omitempty"`

	// Override replaces the freshness lifetime that the origin gives. It does
	// not overrule private, no-store and no-cache. Default: 0, off.
	Override caddy.Duration `json:"override,omitempty"`

	// OverrideAll makes Override overrule private, no-store and no-cache too.
	// Dangerous: only for content that is the same for everyone.
	OverrideAll bool `json:"override_all,omitempty"`

	// NegativeTTL gives error responses without explicit freshness a lifetime,
	// by status code. Default: none, such errors are not stored.
	NegativeTTL map[string]caddy.Duration `json:"negative_ttl,omitempty"`

	// MaxTTL caps every freshness lifetime. Default: 0, no cap.
	MaxTTL caddy.Duration `json:"max_ttl,omitempty"`

	// Heuristic is the share (0 to 1) of the time since Last-Modified that is
	// used as freshness lifetime when the origin gives none (RFC 9111 section
	// 4.2.2). Default: 0, off.
	Heuristic float64 `json:"heuristic,omitempty"`

	// HeuristicMax caps heuristic freshness. Default: 24h.
	HeuristicMax caddy.Duration `json:"heuristic_max,omitempty"`

	// StaleWhileRevalidate is how long a stale response may be served while it
	// is refreshed in the background, when the origin does not say (RFC 5861
	// section 3). Default: 0, off.
	StaleWhileRevalidate caddy.Duration `json:"stale_while_revalidate,omitempty"`

	// StaleOnError is how long a stale response may be served when the origin
	// fails, when the origin does not say (RFC 5861 section 4). Default: 0, off.
	StaleOnError caddy.Duration `json:"stale_on_error,omitempty"`

	// StoreSetCookie stores responses that carry Set-Cookie and replays the
	// field to everyone. Dangerous. Default: false.
	StoreSetCookie bool `json:"store_set_cookie,omitempty"`
}

// Rule changes the options for the requests that it matches. The first matching
// rule applies; what it leaves at zero is taken from the handler, and -1 turns a
// duration or the heuristic off.
type Rule struct {
	// MatcherSetsRaw selects the requests; empty selects all.
	MatcherSetsRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`

	// Bypass sends the matched requests straight to the next handler.
	Bypass bool `json:"bypass,omitempty"`

	Freshness

	matchers caddyhttp.MatcherSets
	policy   *rfc9111.Options
}

// Collapse configures request collapsing: one fetch for concurrent requests of
// one key.
type Collapse struct {
	// Off lets every request that misses fetch for itself.
	Off bool `json:"off,omitempty"`

	// MaxWaiters caps the requests that wait on one fetch; those beyond it
	// fetch for themselves. Default: 10000.
	MaxWaiters int `json:"max_waiters,omitempty"`

	// Timeout is how long a request waits for another one's response header
	// before it fetches for itself. Default: 30s.
	Timeout caddy.Duration `json:"timeout,omitempty"`
}

// HeaderPolicy says what happens to request fields that origins are known to
// act on although no cache has them in its key.
type HeaderPolicy string

// The header policies.
const (
	HeadersStrip HeaderPolicy = "strip" // removed from what is forwarded (default)
	HeadersKey   HeaderPolicy = "key"   // made part of the key
	HeadersTrust HeaderPolicy = "trust" // forwarded as they are; a poisoning risk
)

// Off is the value that turns an option off in a rule, where zero means that the
// handler's own value applies.
const Off = cfparse.Off

// orOff is d, and 0 for Off.
func orOff(d caddy.Duration) time.Duration { return max(time.Duration(d), 0) }

// validate reports the first option that makes no sense.
func (f *Freshness) validate() error {
	for name, d := range map[string]caddy.Duration{
		"ttl": f.TTL, "override": f.Override, "max_ttl": f.MaxTTL, "heuristic_max": f.HeuristicMax,
		"stale_while_revalidate": f.StaleWhileRevalidate, "stale_on_error": f.StaleOnError,
	} {
		if d < 0 && d != Off {
			return fmt.Errorf("edge_cache: %s: %v is negative (off is -1)", name, time.Duration(d))
		}
	}
	switch {
	case f.Heuristic != Off && !(f.Heuristic >= 0 && f.Heuristic <= 1):
		return fmt.Errorf("edge_cache: heuristic: %v is not between 0 and 1", f.Heuristic)
	case f.OverrideAll && f.Override <= 0:
		return fmt.Errorf("edge_cache: override_all: needs override")
	case f.TTL > 0 && f.Override > 0:
		return fmt.Errorf("edge_cache: ttl: %v has no effect beside override", time.Duration(f.TTL))
	case f.MaxTTL > 0 && f.Override > f.MaxTTL:
		return fmt.Errorf("edge_cache: max_ttl: %v is less than override, %v", time.Duration(f.MaxTTL), time.Duration(f.Override))
	case f.MaxTTL > 0 && f.TTL > f.MaxTTL:
		return fmt.Errorf("edge_cache: max_ttl: %v is less than ttl, %v", time.Duration(f.MaxTTL), time.Duration(f.TTL))
	}
	for code, d := range f.NegativeTTL {
		status, err := parseStatus(code)
		if err != nil {
			return fmt.Errorf("edge_cache: negative_ttl: %w", err)
		}
		if status < 400 {
			return fmt.Errorf("edge_cache: negative_ttl: %q is not an error status (400 to 599)", code)
		}
		if d <= 0 {
			return fmt.Errorf("edge_cache: negative_ttl: status %s: duration %v is not positive", code, time.Duration(d))
		}
	}
	return nil
}

// over returns f with what it leaves at zero taken from base.
func (f *Freshness) over(base *Freshness) *Freshness {
	m := Freshness{
		TTL: cmp.Or(f.TTL, base.TTL), Override: cmp.Or(f.Override, base.Override),
		OverrideAll: f.OverrideAll || f.Override == 0 && base.OverrideAll,
		NegativeTTL: f.NegativeTTL, MaxTTL: cmp.Or(f.MaxTTL, base.MaxTTL),
		Heuristic: cmp.Or(f.Heuristic, base.Heuristic), HeuristicMax: cmp.Or(f.HeuristicMax, base.HeuristicMax),
		StaleWhileRevalidate: cmp.Or(f.StaleWhileRevalidate, base.StaleWhileRevalidate),
		StaleOnError:         cmp.Or(f.StaleOnError, base.StaleOnError),
		StoreSetCookie:       f.StoreSetCookie || base.StoreSetCookie,
	}
	if len(m.NegativeTTL) == 0 {
		m.NegativeTTL = base.NegativeTTL
	}
	return &m
}

// validateOver reports the first option of f that has no effect because of what
// it leaves to base. What f says itself goes before what base says.
func (f *Freshness) validateOver(base *Freshness) error {
	m := f.over(base)
	switch {
	case f.TTL > 0 && m.Override > 0:
		return fmt.Errorf("edge_cache: ttl: %v has no effect beside the handler's override, %v: turn that off in the rule",
			time.Duration(f.TTL), time.Duration(m.Override))
	case m.MaxTTL > 0 && max(f.TTL, f.Override) > m.MaxTTL:
		return fmt.Errorf("edge_cache: max_ttl: the handler's, %v, is less than %v in the rule: set it in the rule too",
			time.Duration(m.MaxTTL), time.Duration(max(f.TTL, f.Override)))
	case f.HeuristicMax > 0 && m.Heuristic <= 0:
		return fmt.Errorf("edge_cache: heuristic_max: %v has no effect without heuristic", time.Duration(f.HeuristicMax))
	}
	return nil
}

// policy makes the pure policy of f, which is valid.
func (f *Freshness) policy(control rfc9111.ClientControl) *rfc9111.Options {
	o := &rfc9111.Options{
		Targets:              []string{ownField, "CDN-Cache-Control"},
		TTL:                  orOff(f.TTL),
		Override:             orOff(f.Override),
		OverrideAll:          f.OverrideAll,
		MaxTTL:               orOff(f.MaxTTL),
		Heuristic:            max(f.Heuristic, 0),
		HeuristicMax:         orOff(cmp.Or(f.HeuristicMax, caddy.Duration(24*time.Hour))),
		StaleWhileRevalidate: orOff(f.StaleWhileRevalidate),
		StaleIfError:         orOff(f.StaleOnError),
		StoreSetCookie:       f.StoreSetCookie,
		ClientControl:        control,
	}
	for code, d := range f.NegativeTTL {
		if o.NegativeTTL == nil {
			o.NegativeTTL = make(map[int]time.Duration)
		}
		status, _ := parseStatus(code) // validate has looked
		o.NegativeTTL[status] = time.Duration(d)
	}
	return o
}

// parseStatus reads a three-digit HTTP status code.
func parseStatus(s string) (int, error) {
	if len(s) != 3 {
		return 0, fmt.Errorf("invalid status %q: want three digits", s)
	}
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("invalid status %q: want three digits", s)
		}
		n = n*10 + int(c-'0')
	}
	if n < 100 || n > 599 {
		return 0, fmt.Errorf("invalid status %q: want 100 to 599", s)
	}
	return n, nil
}

// parseControl reads a client_control value.
func parseControl(s string) (rfc9111.ClientControl, error) {
	switch s {
	case "", "collapse":
		return rfc9111.Collapse, nil
	case "honour", "honor":
		return rfc9111.Honour, nil
	case "ignore":
		return rfc9111.Ignore, nil
	}
	return 0, fmt.Errorf("edge_cache: client_control: unknown value %q: want collapse, honour or ignore", s)
}

// parsePrefix reads a CIDR or a single address.
func parsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("invalid address or CIDR %q", s)
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// validToken reports whether s can be a field name or cookie name.
func validToken(s string) bool {
	if s == "" {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
			return false
		}
	}
	return true
}

// canonicalNames returns the canonical forms of field names.
func canonicalNames(option string, names []string) ([]string, error) {
	var out []string // nil for none, as in the zero value
	for _, n := range names {
		if !validToken(n) {
			return nil, fmt.Errorf("edge_cache: %s: invalid field name %q", option, n)
		}
		out = append(out, http.CanonicalHeaderKey(n))
	}
	return out, nil
}

// check reports a rule that does nothing, or contradicts itself or the handler's
// own options.
func (r *Rule) check(base *Freshness) error {
	options := !reflect.DeepEqual(r.Freshness, Freshness{})
	switch {
	case r.Bypass && options:
		return fmt.Errorf("edge_cache: rule: bypass excludes the other options")
	case !r.Bypass && !options:
		return fmt.Errorf("edge_cache: rule: changes nothing")
	}
	if err := r.validate(); err != nil {
		return err
	}
	return r.validateOver(base)
}

// matchesAll reports whether the rule, whose matchers are loaded, has no condition.
func (r *Rule) matchesAll() bool {
	return len(r.matchers) == 0 || slices.ContainsFunc(r.matchers, func(set caddyhttp.MatcherSet) bool { return len(set) == 0 })
}
