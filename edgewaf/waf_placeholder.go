package edgewaf

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// shown is what {http.edge_waf.*} tell of.
type shown struct {
	r *http.Request
	// by is the last of the firewalls that looked at the request, but one that found
	// something stays in front of those that did not. It is nil if none looked at it.
	by *inspection
}

// shownVar is its place in Caddy's table of request variables.
const shownVar = "edge_waf.shown"

// show has the placeholders tell of an inspection, which is nil for a request that is not
// looked at: they are empty then, instead of standing in the log as they are written.
func show(r *http.Request, i *inspection) {
	if s, ok := caddyhttp.GetVar(r.Context(), shownVar).(*shown); ok {
		if i != nil && (s.by == nil || s.by.event.Rule == "") {
			s.by = i
		}
		return
	}
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	s := &shown{r: r, by: i}
	caddyhttp.SetVar(r.Context(), shownVar, s)
	repl.Map(s.placeholder)
}

// placeholder resolves {http.edge_waf.*}. They are empty as long as no rule has found
// anything.
func (s *shown) placeholder(key string) (any, bool) {
	name, ok := strings.CutPrefix(key, "http.edge_waf.")
	if !ok {
		return nil, false
	}
	i := s.by
	if i == nil {
		i = &inspection{id: requestID(s.r)}
	}
	switch name {
	case "rule_id":
		return i.event.Rule, true
	case "action":
		return i.event.Action, true
	case "phase":
		return i.event.Phase, true
	case "score":
		return i.event.Score, true
	case "request_id":
		return i.id, true
	}
	return nil, false
}
