package rfc9111

import (
	"net/http"
	"strings"
	"time"
)

// minStrongAge is how much older than Date a Last-Modified must be for being a
// strong validator (RFC 9110 section 8.8.2.2).
const minStrongAge = time.Second

// Precondition evaluates If-Match, If-Unmodified-Since, If-None-Match and
// If-Modified-Since of a GET or HEAD against a stored response, in the order of
// RFC 9110 section 13.2.2. It returns 304, 412, or 0 to go on. Conditions hold
// for what would be a 200, so that without stored200 the result is 0. If-Range
// comes after this: see IfRange.
func Precondition(req http.Header, stored http.Header, stored200 bool) int {
	if !stored200 {
		return 0
	}
	etag := single(stored["Etag"])
	if lines, ok := req["If-Match"]; ok {
		if !listMatches(lines, etag, true) {
			return http.StatusPreconditionFailed
		}
	} else if lines, ok := req["If-Unmodified-Since"]; ok && modifiedAfter(stored["Last-Modified"], lines) {
		return http.StatusPreconditionFailed
	}
	if lines, ok := req["If-None-Match"]; ok {
		if listMatches(lines, etag, false) {
			return http.StatusNotModified
		}
		return 0
	}
	lines, ok := req["If-Modified-Since"]
	if !ok {
		return 0
	}
	modified := stored["Last-Modified"]
	if len(modified) == 0 {
		// RFC 9111 section 4.3.2: Date stands in for Last-Modified.
		modified = stored["Date"]
	}
	if notModifiedSince(modified, lines) {
		return http.StatusNotModified
	}
	return 0
}

// IfRange says that the If-Range of a request, if any, holds for the stored
// response, so that its Range may be answered in parts (RFC 9110 section 13.1.5):
// the same strong entity tag, or exactly the date of a Last-Modified that is a
// strong validator, being at least a second older than Date.
func IfRange(req, stored http.Header) bool {
	lines, ok := req["If-Range"]
	if !ok {
		return true
	}
	condition := single(lines)
	if strings.HasPrefix(condition, `"`) || strings.HasPrefix(condition, "W/") {
		return ETagStrongMatch(condition, single(stored["Etag"]))
	}
	want, ok1 := ParseDate(condition)
	modified, ok2 := ParseDate(single(stored["Last-Modified"]))
	date, ok3 := ParseDate(single(stored["Date"]))
	return ok1 && ok2 && ok3 && want.Equal(modified) && date.Sub(modified) >= minStrongAge
}

// modifiedAfter says that the stored date is after that of the condition; false
// when one of them is not known.
func modifiedAfter(stored, condition []string) bool {
	a, ok1 := ParseDate(single(stored))
	b, ok2 := ParseDate(single(condition))
	return ok1 && ok2 && a.After(b)
}

// notModifiedSince says that the stored date is not after that of the condition;
// false when one of them is not known.
func notModifiedSince(stored, condition []string) bool {
	a, ok1 := ParseDate(single(stored))
	b, ok2 := ParseDate(single(condition))
	return ok1 && ok2 && !a.After(b)
}

// single returns the value of a field that may have one line only, else "".
func single(lines []string) string {
	if len(lines) != 1 {
		return ""
	}
	return strings.Trim(lines[0], " \t")
}
