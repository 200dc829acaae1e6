package rfc9111

import (
	"net/http"
	"strings"
	"time"
)

const (
	// Absent is the value of a delta that a message does not have.
	Absent time.Duration = -1
	// MaxDelta is the longest delta, 2^31 seconds or about 68 years; larger
	// numbers are taken for it (RFC 9111 section 1.2.2).
	MaxDelta = (1 << 31) * time.Second
)

// Directives are the cache directives of one request or response. The zero value
// is not "no directives", because absent deltas are Absent: use NoDirectives.
type Directives struct {
	// NoStore, and the others, say that the directive is there. NoCache and
	// Private stand for the unqualified forms only.
	NoStore, NoCache, Private, Public               bool
	MustRevalidate, ProxyRevalidate, MustUnderstand bool
	NoTransform, OnlyIfCached, Immutable            bool
	// NoCacheFields and PrivateFields are the canonical names of the fields to
	// which the qualified forms apply (no-cache="a, b").
	NoCacheFields, PrivateFields []string
	// MaxAge and the other deltas are Absent, or at most MaxDelta. MaxStale
	// without a value is MaxDelta.
	MaxAge, SMaxAge, StaleWhileRevalidate, StaleIfError, MinFresh, MaxStale time.Duration
	// Invalid says that a directive about freshness, or the syntax around it,
	// cannot be parsed; a response is stale then (RFC 9111 section 4.2.1).
	Invalid bool
}

// NoDirectives returns the directives of a message that has none.
func NoDirectives() Directives {
	return Directives{
		MaxAge: Absent, SMaxAge: Absent, StaleWhileRevalidate: Absent,
		StaleIfError: Absent, MinFresh: Absent, MaxStale: Absent,
	}
}

// ParseCacheControl parses the lines of a Cache-Control field (RFC 9111 section
// 5.2). Names are case-insensitive and unknown directives are ignored. Of a
// repeated delta the stricter counts: the longest min-fresh, the shortest of all
// others. It does not fail; what is malformed is reported in Invalid.
func ParseCacheControl(values []string) Directives {
	d := NoDirectives()
	for _, line := range values {
		for line != "" {
			var m member
			m, line = nextMember(line)
			d.add(m)
		}
	}
	return d
}

// ParseRequest parses the directives of a request: Cache-Control, or, when there
// is none, Pragma: no-cache (RFC 9111 section 5.4). The keys of h must be in
// canonical form.
func ParseRequest(h http.Header) Directives {
	if values, ok := h["Cache-Control"]; ok {
		return ParseCacheControl(values)
	}
	d := NoDirectives()
	for _, line := range h["Pragma"] {
		for line != "" {
			var m member
			m, line = nextMember(line)
			d.NoCache = d.NoCache || strings.EqualFold(m.name, "no-cache")
		}
	}
	return d
}

// ParseResponse parses the directives of a response. The first of the targeted
// fields (RFC 9213) that is present and valid decides alone, and targeted is its
// name as given; Cache-Control and Expires do not count then. Otherwise the
// directives are those of Cache-Control and targeted is "".
func ParseResponse(h http.Header, targets []string) (d Directives, targeted string) {
	for _, name := range targets {
		if values := h.Values(name); len(values) > 0 {
			if d, ok := ParseTargeted(values); ok {
				return d, name
			}
		}
	}
	return ParseCacheControl(h["Cache-Control"]), ""
}

// add applies one parsed member.
func (d *Directives) add(m member) {
	d.Invalid = d.Invalid || m.malformed
	switch {
	case strings.EqualFold(m.name, "no-store"):
		d.NoStore = true
	case strings.EqualFold(m.name, "no-cache"):
		qualify(&d.NoCache, &d.NoCacheFields, m)
	case strings.EqualFold(m.name, "private"):
		qualify(&d.Private, &d.PrivateFields, m)
	case strings.EqualFold(m.name, "must-revalidate"):
		d.MustRevalidate = true
	case strings.EqualFold(m.name, "proxy-revalidate"):
		d.ProxyRevalidate = true
	case strings.EqualFold(m.name, "no-transform"):
		d.NoTransform = true
	case strings.EqualFold(m.name, "only-if-cached"):
		d.OnlyIfCached = true
	case strings.EqualFold(m.name, "public"):
		d.Public = d.Public || m.bare()
	case strings.EqualFold(m.name, "must-understand"):
		d.MustUnderstand = d.MustUnderstand || m.bare()
	case strings.EqualFold(m.name, "immutable"):
		d.Immutable = d.Immutable || m.bare()
	case strings.EqualFold(m.name, "max-age"):
		d.freshness(&d.MaxAge, m)
	case strings.EqualFold(m.name, "s-maxage"):
		d.freshness(&d.SMaxAge, m)
	case strings.EqualFold(m.name, "stale-while-revalidate"):
		shorter(&d.StaleWhileRevalidate, m)
	case strings.EqualFold(m.name, "stale-if-error"):
		shorter(&d.StaleIfError, m)
	case strings.EqualFold(m.name, "min-fresh"):
		if v, ok := m.delta(); ok {
			d.MinFresh = max(d.MinFresh, v)
		}
	case strings.EqualFold(m.name, "max-stale"):
		if m.bare() && d.MaxStale == Absent {
			d.MaxStale = MaxDelta
		}
		shorter(&d.MaxStale, m)
	}
}

// freshness sets a delta on which the lifetime depends.
func (d *Directives) freshness(at *time.Duration, m member) {
	if !shorter(at, m) {
		d.Invalid = true
	}
}

// shorter sets the delta to the argument unless it already is shorter; false
// means that there is no valid argument.
func shorter(at *time.Duration, m member) bool {
	v, ok := m.delta()
	if ok && (*at == Absent || v < *at) {
		*at = v
	}
	return ok
}

// structural are the fields without which a stored response means something
// else. A qualified directive that names one of them cannot be obeyed by leaving
// out the field, only by treating the whole response that way.
var structural = map[string]bool{
	"Cache-Control": true, "Content-Encoding": true, "Content-Length": true, "Content-Range": true,
	"Content-Type": true, "Date": true, "Expires": true, "Location": true, "Vary": true,
}

// qualify applies no-cache or private, which may have a list of field names. The
// token form of the list is accepted (RFC 9111 section 5.2.2.4).
func qualify(whole *bool, fields *[]string, m member) {
	if !m.hasArg || m.malformed {
		*whole = true
		return
	}
	named := false
	for name := range strings.SplitSeq(m.arg, ",") {
		name = strings.Trim(name, " \t")
		switch {
		case name == "":
		case !isToken(name):
			*whole = true
		default:
			name, named = http.CanonicalHeaderKey(name), true
			*whole = *whole || structural[name]
			*fields = append(*fields, name)
		}
	}
	*whole = *whole || !named
}
