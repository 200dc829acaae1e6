package rules

import (
	"strings"
)

// The places where a condition may find something.
const (
	placePath          = "path"
	placeQuery         = "query"
	placeBody          = "body"
	placeParam         = "param"
	placeField         = "header"
	placeCookie        = "cookie"
	placeMethod        = "method"
	placeClient        = "client"
	placeHost          = "host"
	placeProtocol      = "protocol"
	placeStatus        = "status"
	placeResponseField = "response header"
	placeResponseBody  = "response body"
	// placeAbsent: the rule matches by what is not there.
	placeAbsent = "absent"
)

func placeOf(response bool) string {
	if response {
		return placeResponseField
	}
	return placeField
}

// hit is where a condition held.
type hit struct {
	place, name, text string
	pattern           *pattern // that was found in text, or nil for all of it
}

// note notes where a condition holds, and returns that it does. Of several places the
// first stays.
func (h *hit) note(place, name, text string, p *pattern) bool {
	if h != nil && h.place == "" {
		*h = hit{place, name, text, p}
	}
	return true
}

// Match is a rule and where it matched.
type Match struct {
	Rule *Rule
	// Where is the place: "path", "query", "body", "param id", "header User-Agent",
	// "cookie sid", "method", "client", "host", "protocol", "status", "response header
	// Server", "response body", or "absent" when the rule matches by what is not there.
	Where string
	// Excerpt is the text that matched, decoded as it was when it did, of at most
	// MaxExcerpt bytes of valid UTF-8. It comes from the client: print it with care. It
	// is empty for cookies and for fields that carry credentials.
	Excerpt string
}

// MaxExcerpt is the most that an excerpt has, in bytes, and MaxWhere the most of a
// place.
const (
	MaxExcerpt = 64
	MaxWhere   = 80
)

// match makes of a hit what is told of it. All texts are copied.
func (h *hit) match(r *Rule, v *view) Match {
	if h.place == "" {
		return Match{Rule: r, Where: placeAbsent}
	}
	start, end := 0, len(h.text)
	if h.pattern != nil {
		h.narrow(v)
		start, end = h.pattern.find(h.text)
	}
	m := Match{Rule: r, Where: h.place}
	if h.name != "" {
		m.Where = bounded(h.place+" "+h.name, MaxWhere)
	}
	if !h.secret() {
		m.Excerpt = bounded(strings.Clone(h.text[start:end]), MaxExcerpt)
	}
	return m
}

// narrow finds the parameter in which a pattern is that was found in the whole.
func (h *hit) narrow(v *view) {
	var list []piece
	switch h.place {
	case placeQuery:
		list = v.queryPieces()
	case placeBody:
		list = v.bodyPieces()
	}
	for _, c := range list {
		if c.name != "" && h.pattern.match(c.text) {
			h.place, h.name, h.text = placeParam, c.name, c.text
			return
		}
	}
}

// secret reports whether what matched may be a credential.
func (h *hit) secret() bool {
	switch h.place {
	case placeCookie:
		return true
	case placeField, placeResponseField:
		switch h.name {
		case "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie":
			return true
		}
	}
	return false
}

// bounded cuts a text, and makes valid UTF-8 of it.
func bounded(text string, most int) string {
	if len(text) > most {
		text = text[:most]
	}
	text = strings.ToValidUTF8(text, "?")
	return text[:min(len(text), most)]
}
