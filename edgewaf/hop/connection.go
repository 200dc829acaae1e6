// Package hop keeps the Connection field to what it is for.
//
// A client may nominate any field in Connection, and an intermediary must then remove it
// (RFC 9110 section 7.6.1). So a client can have fields removed that others rely on: its
// cookies after a firewall has looked at them, or a field that the edge itself has set.
package hop

import (
	"net/http"
	"net/textproto"
	"strings"
)

// Policy says which fields are no client's to remove. The zero value knows the common
// ones.
type Policy struct {
	more map[string]bool
}

// NewPolicy returns a policy with more fields that go from end to end.
func NewPolicy(names ...string) *Policy {
	p := &Policy{more: make(map[string]bool, len(names))}
	for _, name := range names {
		p.more[textproto.CanonicalMIMEHeaderKey(name)] = true
	}
	return p
}

// Plan is what is to be done with a request. The zero value is nothing.
type Plan struct {
	// Connection is the value that is left, "" for none.
	Connection string
	// Delete are the fields that the client nominated and that nobody else needs.
	Delete []string
	// Kept are the fields that the client nominated and that stay.
	Kept   []string
	change bool
}

// Needed reports whether there is something to do.
func (p *Plan) Needed() bool { return p.change }

// Plan looks at the Connection fields of a request. Only close, keep-alive, upgrade and
// te stay in it (upgrade and te for HTTP/1 alone; HTTP/2 and HTTP/3 have no Connection
// at all, RFC 9113 section 8.2.2).
func (p *Policy) Plan(header http.Header, major int) (plan Plan) {
	values := header["Connection"]
	if len(values) == 0 || len(values) == 1 && major == 1 && ordinary(values[0]) {
		return plan
	}
	var left []string
	for _, value := range values {
		for token := range strings.SplitSeq(value, ",") {
			token = strings.Trim(token, " \t")
			switch lower := strings.ToLower(token); {
			case lower == "":
				plan.change = true
			case options[lower]:
				left = append(left, lower)
			default:
				plan.change = true
				p.nominated(&plan, header, textproto.CanonicalMIMEHeaderKey(token))
			}
		}
	}
	if major != 1 {
		plan.change, left = true, nil
	}
	plan.Connection = strings.Join(left, ", ")
	return plan
}

// nominated decides about a field in Connection.
func (p *Policy) nominated(plan *Plan, header http.Header, name string) {
	if _, ok := header[name]; !ok {
		return
	}
	if p.more[name] || EndToEnd(name) {
		plan.Kept = append(plan.Kept, name)
	} else {
		plan.Delete = append(plan.Delete, name)
	}
}

// Apply does what is planned.
func (p *Plan) Apply(header http.Header) {
	if !p.change {
		return
	}
	for _, name := range p.Delete {
		delete(header, name)
	}
	if p.Connection == "" {
		delete(header, "Connection")
	} else {
		header["Connection"] = []string{p.Connection}
	}
}

// options are what may stay.
var options = map[string]bool{"close": true, "keep-alive": true, "upgrade": true, "te": true}

// ordinary reports whether a value is one of those that nearly all requests have.
func ordinary(value string) bool {
	switch value {
	case "keep-alive", "close", "Upgrade", "upgrade", "keep-alive, Upgrade", "TE", "te", "Keep-Alive":
		return true
	}
	return false
}

// EndToEnd reports whether a field, by its canonical name, is known to go from end to
// end, or belongs to the framing.
func EndToEnd(name string) bool {
	if known[name] {
		return true
	}
	for _, prefix := range prefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

var prefixes = []string{"Accept", "Access-Control-", "Content-", "If-", "X-Forwarded-", "Sec-", "Cf-", "X-B3-"}

var known = func() map[string]bool {
	all := make(map[string]bool)
	for name := range strings.FieldsSeq(`Age Authorization Baggage Cache-Control Cdn-Loop Cookie Cookie2 Date Dnt Dpop
		Early-Data Expect Forwarded From Host Idempotency-Key Last-Event-Id Max-Forwards Origin Pragma Prefer
		Priority Proxy-Authorization Range Referer Signature Signature-Input Te Traceparent Tracestate Trailer
		Transfer-Encoding Upgrade Upgrade-Insecure-Requests User-Agent Via Www-Authenticate X-Api-Key X-Client-Ip
		X-Correlation-Id X-Csrf-Token X-Forwarded X-Http-Method-Override X-Original-Url X-Real-Ip X-Request-Id
		X-Requested-With X-Rewrite-Url X-Xsrf-Token`) {
		all[name] = true
	}
	return all
}()
