package edgecache

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyedge/caddy-edge/edgecache/glob"
)

// trackingParameters is the "tracking" preset: parameters that advertising and
// mailing systems add to links and that no origin is known to act upon.
var trackingParameters = []string{
	"utm_*", "gclid", "gclsrc", "dclid", "gbraid", "wbraid", "fbclid", "msclkid", "twclid", "ttclid", "li_fat_id",
	"igshid", "yclid", "mc_cid", "mc_eid", "_hsenc", "_hsmi", "mkt_tok", "vero_id", "oly_anon_id", "oly_enc_id",
	"_openstat", "s_cid", "wickedid", "epik", "srsltid",
}

// Query configures which query parameters are part of the key. What is not part
// of the key is not forwarded to the origin either.
type Query struct {
	// Sort orders the parameters by name, keeping the order of equal names.
	Sort bool `json:"sort,omitempty"`

	// Allow keeps only the named parameters; * stands for any characters, and
	// is the only wildcard: filter[price] is a name. Excludes Ignore.
	Allow []string `json:"allow,omitempty"`

	// Ignore drops the named parameters; * is as in Allow. The name "tracking"
	// stands for the preset of well-known tracking parameters.
	Ignore []string `json:"ignore,omitempty"`

	// None drops the whole query string.
	None bool `json:"none,omitempty"`

	// ForwardIgnored forwards the dropped parameters to the origin although
	// they are not in the key. A poisoning risk: only for origins that do not
	// act upon them. Default: false.
	ForwardIgnored bool `json:"forward_ignored,omitempty"`
}

func (q *Query) validate() error {
	if len(q.Allow) > 0 && len(q.Ignore) > 0 {
		return fmt.Errorf("edge_cache: key: query allow and query ignore exclude one another")
	}
	if q.None && (q.Sort || len(q.Allow) > 0 || len(q.Ignore) > 0) {
		return fmt.Errorf("edge_cache: key: query none excludes the other query options")
	}
	if q.ForwardIgnored && !q.None && len(q.Allow) == 0 && len(q.Ignore) == 0 {
		return fmt.Errorf("edge_cache: key: query forward_ignored: no parameter is ignored")
	}
	if slices.Contains(q.Allow, "") || slices.Contains(q.Ignore, "") {
		return fmt.Errorf("edge_cache: key: query: empty parameter name")
	}
	return nil
}

// compile expands the preset.
func (q *Query) compile() *queryRules {
	if q == nil || (!q.Sort && !q.None && len(q.Allow) == 0 && len(q.Ignore) == 0) {
		return nil
	}
	r := &queryRules{sort: q.Sort, none: q.None, allow: q.Allow, forwardIgnored: q.ForwardIgnored}
	for _, p := range q.Ignore {
		if p == "tracking" {
			r.ignore = append(r.ignore, trackingParameters...)
		} else {
			r.ignore = append(r.ignore, p)
		}
	}
	return r
}

// queryRules rewrites raw query strings; nil leaves them alone.
type queryRules struct {
	sort, none     bool
	allow, ignore  []string
	forwardIgnored bool
}

// apply returns the query string that is keyed. Parameters keep their bytes:
// only whole parameters are dropped or moved.
func (r *queryRules) apply(raw string) string {
	if r == nil || raw == "" {
		return raw
	}
	if r.none {
		return ""
	}
	params := strings.Split(raw, "&")
	if len(r.allow) > 0 || len(r.ignore) > 0 {
		params = slices.DeleteFunc(params, func(p string) bool { return !r.keep(paramName(p)) })
	}
	if r.sort {
		slices.SortStableFunc(params, func(a, b string) int { return strings.Compare(paramName(a), paramName(b)) })
	}
	return strings.Join(params, "&")
}

func (r *queryRules) keep(name string) bool {
	matches := func(pattern string) bool { return glob.Match(pattern, name) }
	if len(r.allow) > 0 {
		return slices.ContainsFunc(r.allow, matches)
	}
	return !slices.ContainsFunc(r.ignore, matches)
}

// parameter returns what reports whether a parameter is part of the key, or nil
// when all are.
func (r *queryRules) parameter() func(name string) bool {
	switch {
	case r == nil || !r.none && len(r.allow) == 0 && len(r.ignore) == 0:
		return nil
	case r.none:
		return func(string) bool { return false }
	default:
		return r.keep
	}
}

// paramName returns the decoded name of a raw parameter, or the raw one when its
// encoding is broken.
func paramName(p string) string {
	name, _, _ := strings.Cut(p, "=")
	if strings.ContainsAny(name, "%+") {
		if n, err := url.QueryUnescape(name); err == nil {
			return n
		}
	}
	return name
}

// original applies the rules to the client's own request target, which FastCGI
// backends are sent.
func (r *queryRules) original(o http.Request) http.Request {
	if r == nil || r.forwardIgnored {
		return o
	}
	if path, raw, ok := strings.Cut(o.RequestURI, "?"); ok {
		o.RequestURI = joinTarget(path, r.apply(raw))
	}
	if o.URL != nil {
		u := *o.URL
		u.RawQuery = r.apply(u.RawQuery)
		o.URL = &u
	}
	return o
}
