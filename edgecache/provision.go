package edgecache

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// provisionOptions checks the options and fills in the defaults.
func (h *Handler) provisionOptions() (err error) {
	h.name = h.Name
	if h.name == "" {
		h.name = DefaultName
	}
	if c := h.name[0] | 0x20; !validToken(h.name) || c < 'a' || c > 'z' {
		return fmt.Errorf("edge_cache: name: invalid token %q: want a letter, then letters, digits and the like", h.Name)
	}
	switch h.StatusHeader {
	case "":
		h.statusField = "Cache-Status"
	case "off":
	default:
		names, err := canonicalNames("status_header", []string{h.StatusHeader})
		if err != nil {
			return err
		}
		h.statusField = names[0]
	}
	if err := h.Key.provision(); err != nil {
		return err
	}
	if !validPart(h.Namespace) {
		return fmt.Errorf("edge_cache: namespace: invalid value %q", h.Namespace)
	}
	switch h.RequestHeaders {
	case "", HeadersStrip:
		h.headers = HeadersStrip
	case HeadersKey, HeadersTrust:
		h.headers = h.RequestHeaders
	default:
		return fmt.Errorf("edge_cache: request_headers: unknown value %q: want strip, key or trust", h.RequestHeaders)
	}
	if h.Key.IgnoreHost && h.Namespace == "" {
		return fmt.Errorf("edge_cache: key: ignore_host: needs a namespace, so that other sites can't be meant")
	}
	h.keyer = &keyer{namespace: h.Namespace, rules: h.Key, query: h.Key.Query.compile(), keyed: h.headers == HeadersKey}
	if h.keyer.variety, err = h.variety(); err != nil {
		return err
	}
	if len(h.AllowHeaders) > 0 {
		names, err := canonicalNames("allow_headers", h.AllowHeaders)
		if err != nil {
			return err
		}
		h.strict = slices.Concat(alwaysAllowed, names, h.Key.Headers)
	}
	for _, l := range h.Languages {
		if strings.Trim(l, languageChars) != "" || strings.Trim(l, "-") != l || l == "" {
			return fmt.Errorf("edge_cache: normalize_language: invalid language tag %q", l)
		}
	}
	if slices.Contains(h.BypassCookies, "") {
		return fmt.Errorf("edge_cache: bypass_cookie: empty name")
	}
	h.tagHeaders = defaultTagHeaders
	if len(h.TagHeaders) > 0 {
		if h.tagHeaders, err = canonicalNames("tags", h.TagHeaders); err != nil {
			return err
		}
	}
	h.armor = !h.DeceptionArmorOff
	if h.DevelopmentUntil != "" {
		if h.devUntil, err = time.Parse(time.RFC3339, h.DevelopmentUntil); err != nil {
			return fmt.Errorf("edge_cache: development: invalid time %q: want RFC 3339, such as 2030-01-31T12:00:00Z", h.DevelopmentUntil)
		}
	}
	for _, s := range h.PurgeAllow {
		p, err := parsePrefix(s)
		if err != nil {
			return fmt.Errorf("edge_cache: purge_allow: %w", err)
		}
		h.purgeAllow = append(h.purgeAllow, p)
	}
	return h.provisionLimits()
}

func (h *Handler) provisionLimits() error {
	for name, n := range map[string]int64{
		"max_object_size": h.MaxObjectSize, "max_variants": int64(h.MaxVariants), "fetch_timeout": int64(h.FetchTimeout),
		"collapse: waiters": int64(h.Collapse.MaxWaiters), "collapse: timeout": int64(h.Collapse.Timeout),
	} {
		if n < 0 {
			return fmt.Errorf("edge_cache: %s: %d is negative", name, n)
		}
	}
	if h.Collapse.Off && (h.Collapse.MaxWaiters > 0 || h.Collapse.Timeout > 0) {
		return fmt.Errorf("edge_cache: collapse: off excludes waiters and timeout")
	}
	orDefault := func(n, def int64) int64 {
		if n == 0 {
			return def
		}
		return n
	}
	h.maxObjectSize = orDefault(h.MaxObjectSize, DefaultMaxObjectSize)
	h.MaxVariants = int(orDefault(int64(h.MaxVariants), DefaultMaxVariants))
	h.maxWaiters = int(orDefault(int64(h.Collapse.MaxWaiters), DefaultMaxWaiters))
	h.waitTimeout = time.Duration(orDefault(int64(h.Collapse.Timeout), int64(DefaultWaitTimeout)))
	h.fetchTimeout = time.Duration(orDefault(int64(h.FetchTimeout), int64(DefaultFetchTimeout)))
	h.stallTimeout = stallTimeout
	return nil
}

func (h *Handler) provisionRules(ctx caddy.Context) error {
	control, err := parseControl(h.ClientControl)
	if err != nil {
		return err
	}
	if err := h.validate(); err != nil {
		return err
	}
	if h.HeuristicMax > 0 && h.Heuristic <= 0 && !slices.ContainsFunc(h.Rules, func(r *Rule) bool { return r.Heuristic > 0 }) {
		return fmt.Errorf("edge_cache: heuristic_max: %v has no effect without heuristic", time.Duration(h.HeuristicMax))
	}
	h.policy = h.Freshness.policy(control)
	h.policy.CookiesHarmless = len(h.BypassCookies) > 0
	for i, rule := range h.Rules {
		if i > 0 && h.Rules[i-1].matchesAll() {
			return fmt.Errorf("edge_cache: rule %d: never applies, since rule %d matches every request", i+1, i)
		}
		if err := rule.check(&h.Freshness); err != nil {
			return fmt.Errorf("rule %d: %w", i+1, err)
		}
		rule.policy = rule.Freshness.over(&h.Freshness).policy(control)
		rule.policy.CookiesHarmless = len(h.BypassCookies) > 0
		if rule.MatcherSetsRaw == nil {
			continue
		}
		sets, err := ctx.LoadModule(rule, "MatcherSetsRaw")
		if err != nil {
			return fmt.Errorf("edge_cache: rule %d: loading matchers: %w", i+1, err)
		}
		if err := rule.matchers.FromInterface(sets); err != nil {
			return fmt.Errorf("edge_cache: rule %d: %w", i+1, err)
		}
	}
	return nil
}

// validPart reports whether s can be part of a key.
func validPart(s string) bool {
	return !slices.ContainsFunc([]byte(s), func(c byte) bool { return c <= ' ' || c == 0x7f })
}

// languageChars are what language tags consist of (RFC 5646 section 2.1).
const languageChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"

// variety hashes the options that decide what reaches the origin, and whether a
// response with Set-Cookie is stored.
func (h *Handler) variety() (string, error) {
	options := struct {
		Key       KeyRules
		Headers   HeaderPolicy
		Allow     []string
		Languages []string
		SetCookie bool
	}{h.Key, h.headers, h.AllowHeaders, h.Languages, h.StoreSetCookie || slices.ContainsFunc(h.Rules, func(r *Rule) bool { return r.StoreSetCookie })}
	if reflect.DeepEqual(options.Key, KeyRules{}) && options.Headers == HeadersStrip && len(options.Allow) == 0 &&
		len(options.Languages) == 0 && !options.SetCookie {
		return "", nil
	}
	text, err := json.Marshal(options)
	if err != nil {
		return "", fmt.Errorf("edge_cache: hashing the key rules: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8]), nil
}
