package edgeapp

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// selector describes those conditions of a route that tell apart requests with
// one key. It is empty when there are none.
func (k *CacheKey) selector(sets caddyhttp.MatcherSets) string {
	var alternatives []string
	selects := false
	for _, set := range sets {
		rest := slices.DeleteFunc(slices.Clone(set), func(m any) bool { return !asksMethod(m) && k.beyond(m) == "" })
		selects = selects || len(rest) > 0
		alternatives = append(alternatives, setIdentity(rest))
	}
	if !selects {
		return ""
	}
	slices.Sort(alternatives)
	return strings.Join(slices.Compact(alternatives), " or ")
}

// asksMethod reports whether m looks at the method. HEAD is answered from what
// GET stored, so a cache for one method must not share keys with one for another;
// behind a cache it makes no difference.
func asksMethod(m any) bool {
	switch m := m.(type) {
	case *caddyhttp.MatchMethod:
		return true
	case *caddyhttp.MatchNot:
		return slices.ContainsFunc(m.MatcherSets, func(set caddyhttp.MatcherSet) bool {
			return slices.ContainsFunc(set, asksMethod)
		})
	default:
		return false
	}
}

// decides returns what sets look at that is not in the key, or "": two clients
// that send the same method and URL to the same host may be treated differently
// by it.
func (k *CacheKey) decides(sets caddyhttp.MatcherSets) string {
	for _, set := range sets {
		for _, m := range set {
			if what := k.beyond(m); what != "" {
				return what
			}
		}
	}
	return ""
}
