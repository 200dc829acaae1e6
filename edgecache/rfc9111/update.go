package rfc9111

import (
	"net/http"
	"strings"
)

// connectionFields are about one connection and never stored (RFC 9111 section
// 3.1), together with Age, which is carried in Freshness.InitialAge.
var connectionFields = map[string]bool{
	"Age": true, "Connection": true, "Keep-Alive": true, "Proxy-Authenticate": true,
	"Proxy-Authentication-Info": true, "Proxy-Authorization": true, "Proxy-Connection": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

// OwnControl is the targeted field for this cache alone. It is not sent on.
const OwnControl = "Edge-Cache-Control"

// StoredHeader returns a copy of the response header as it is stored and sent to
// clients: without the fields of the connection and those that Connection names,
// Age, the fields of qualified no-cache and private, and OwnControl. Set-Cookie
// stays unless it is one of those.
func StoredHeader(h http.Header, d Directives) http.Header {
	stored := h.Clone()
	if stored == nil {
		stored = http.Header{}
	}
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			stored.Del(strings.Trim(name, " \t"))
		}
	}
	for name := range connectionFields {
		delete(stored, name)
	}
	for _, names := range [][]string{d.NoCacheFields, d.PrivateFields} {
		for _, name := range names {
			delete(stored, name)
		}
	}
	delete(stored, OwnControl)
	return stored
}

// bodyFields describe the bytes that are stored; a 304 has none, so that what it
// says about them cannot be true of the stored ones (RFC 9111 section 3.2).
var bodyFields = map[string]bool{
	"Content-Encoding": true, "Content-Length": true, "Content-Range": true,
}

// Update304 returns the stored header updated with that of a 304 (RFC 9111
// section 3.2): its fields replace those of the same name, except those that are
// never stored (Age among them) or describe the stored bytes. A Set-Cookie is taken over only
// where one is stored already, because otherwise the operator did not allow it.
// A weak entity tag stays when the 304 has the strong form of it: the stored
// bytes may be an encoding to which the strong tag does not belong. Neither
// argument is changed.
func Update304(stored, fresh http.Header) http.Header {
	update := StoredHeader(fresh, NoDirectives())
	if own := fresh[OwnControl]; len(own) > 0 {
		update[OwnControl] = own
	}
	merged := stored.Clone()
	if merged == nil {
		merged = http.Header{}
	}
	for name, values := range update {
		switch {
		case bodyFields[name]:
		case name == "Set-Cookie" && !hasField(stored, name):
		case name == "Etag" && weakens(stored.Get(name), update.Get(name)):
		default:
			merged[name] = values
		}
	}
	delete(merged, "Age")
	return merged
}

// weakens says that the stored tag is the weak form of the new one.
func weakens(stored, fresh string) bool {
	return strings.HasPrefix(stored, "W/") && ETagWeakMatch(stored, fresh)
}

// MatchesStored says that a 304 is about the stored response, so that it may
// update it (RFC 9111 section 4.3.4). An entity tag in the 304 decides alone;
// otherwise Last-Modified does. A 304 without validators answers the condition
// that was sent, which had those of the stored response, and matches; so it must
// not be asked about a 304 to a request without condition. A strong
// tag also matches its own weak form, since servers that compress weaken the tag
// of a 200 and not that of the 304.
func MatchesStored(stored, resp304 http.Header) bool {
	if tag := strings.Trim(resp304.Get("Etag"), " \t"); tag != "" {
		known := strings.Trim(stored.Get("Etag"), " \t")
		if strings.HasPrefix(tag, "W/") || strings.HasPrefix(known, "W/") {
			return ETagWeakMatch(tag, known)
		}
		return tag == known
	}
	if modified := resp304.Get("Last-Modified"); modified != "" {
		known := stored.Get("Last-Modified")
		a, okA := ParseDate(modified)
		b, okB := ParseDate(known)
		return modified == known || (okA && okB && a.Equal(b))
	}
	return true
}

// HeadMatches says that a 200 to HEAD is about the stored response to GET, so
// that it may update it as a 304 does; otherwise the stored response is outdated
// (RFC 9111 section 4.3.5). The entity tag, Last-Modified and Content-Length that
// the HEAD response has must be those that are stored.
func HeadMatches(stored, head http.Header) bool {
	for _, name := range [...]string{"Etag", "Last-Modified", "Content-Length"} {
		if value := head.Get(name); value != "" && value != stored.Get(name) {
			return false
		}
	}
	return true
}
