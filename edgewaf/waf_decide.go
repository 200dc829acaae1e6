package edgewaf

import (
	"net/http"
	"strings"

	"github.com/caddyedge/caddy-edge/edgewaf/audit"
	"github.com/caddyedge/caddy-edge/edgewaf/rules"
	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

// byPacks holds the request against the packs.
func (i *inspection) byPacks() {
	set := i.f.rules.packs
	if set == nil {
		return
	}
	i.native = rules.Request{
		Method: i.r.Method, Host: i.r.Host, Proto: i.r.Proto, Header: i.r.Header, Client: i.client, Body: i.body.seen,
	}
	if extended(i.r) { // a WebSocket, which is a GET over HTTP/1
		i.native.Method, i.native.Proto = http.MethodGet, versionOf(i.r)
	}
	i.native.Path, i.native.RawQuery, _ = strings.Cut(i.r.RequestURI, "?")
	if !strings.HasPrefix(i.native.Path, "/") { // with scheme and host in front
		i.native.Path = i.r.URL.EscapedPath()
	}
	var matches []rules.Match
	set.Request(&i.native, func(m rules.Match) { matches = append(matches, m) })
	i.decide(matches)
}

// decide does what the rules of packs say that found something.
func (i *inspection) decide(matches []rules.Match) {
	n := 0
	for _, m := range matches {
		if has(i.offIDs, m.Rule.ID) {
			continue
		}
		matches[n] = m
		n++
		i.find(audit.Finding{
			Rule: m.Rule.ID, Message: m.Rule.Description, Tags: m.Rule.Tags, Mode: i.modeOf(m.Rule).String(), Variable: m.Where, Excerpt: excerptOf(m),
		}, m.Rule.Log)
	}
	v := rules.Decide(matches[:n], i.modeOf)
	switch {
	case v.Block != nil:
		i.block(v.Block.ID, v.Block.Status, false)
	case v.Would != nil && i.level != levelShadow: // else it is told what would be done in force
		i.block(v.Would.ID, v.Would.Status, true)
	}
	if v.Allow != nil {
		i.allowed = true
		if !i.blocked && !i.would {
			i.reason(v.Allow.ID)
		}
	}
	if v.BypassCache != nil {
		reqinfo.From(i.r).Set(reqinfo.BypassCache, v.BypassCache.ID)
	}
	if i.level == levelShadow && len(v.Limits) > 0 {
		i.block(v.Limits[0].ID, http.StatusTooManyRequests, true)
		return
	}
	i.zones = append(i.zones, v.Limits...)
}

// modeOf is the mode of a rule for this request.
func (i *inspection) modeOf(r *rules.Rule) rules.Mode {
	if has(i.shadowed, r.ID) {
		return rules.Shadow
	}
	return r.Mode
}

// excerptOf is what may be told of what a rule of a pack found.
func excerptOf(m rules.Match) string {
	if _, name, ok := strings.Cut(m.Where, " "); ok && audit.Secret(name) {
		return audit.Redacted
	}
	return audit.Clean(m.Excerpt, audit.MaxExcerpt)
}

// find notes what a rule found.
func (i *inspection) find(finding audit.Finding, worth bool) {
	i.event.Add(finding)
	i.found = i.found || worth
	if i.event.Rule == "" {
		i.event.Rule = finding.Rule
	}
}

// block decides that the request is to be refused. The first rule is the reason.
func (i *inspection) block(rule string, status int, shadow bool) {
	if i.blocked {
		return
	}
	if shadow || i.level == levelShadow {
		if !i.would {
			i.would = true
			i.reason(rule)
		}
		return
	}
	i.blocked = true
	i.reason(rule)
	if i.event.Status = status; status == 0 {
		i.event.Status = i.f.Status
	}
}

// fail decides about a request that could not be looked at as it should be.
func (i *inspection) fail(why string, status int, o outcome) {
	i.failure = o
	i.find(audit.Finding{Rule: why, Message: failures[why]}, true)
	i.block(why, status, false)
}

// failures are the rules of requests that could not be looked at.
var failures = map[string]string{
	"body-limit":     "content is longer than is looked at",
	"budget":         "the request would be too much work",
	"engine":         "the rules could not be evaluated",
	"response-limit": "the response is longer than is looked at",
}

// reason sets the rule that is told as the reason.
func (i *inspection) reason(rule string) { i.event.Rule = rule }

// has reports whether an id is in one of the sets.
func has(sets []map[string]bool, id string) bool {
	for _, set := range sets {
		if set[id] {
			return true
		}
	}
	return false
}
