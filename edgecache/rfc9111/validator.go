package rfc9111

import (
	"net/http"
	"strings"
)

// hasValidator says that the response can be validated later.
func hasValidator(h http.Header) bool {
	etag, modified := ConditionalHeader(h)
	return etag != "" || modified != ""
}

// ConditionalHeader returns the values of If-None-Match and If-Modified-Since
// with which the stored response is validated (RFC 9111 section 4.3.1); "" means
// that the field is not to be sent. An entity tag is sent as it came, even when
// it is not well-formed, because the origin compares it with its own. Several
// different tags, or a date that is not one, do not identify anything.
func ConditionalHeader(stored http.Header) (ifNoneMatch, ifModifiedSince string) {
	if tags := stored["Etag"]; len(tags) == 1 {
		ifNoneMatch = strings.Trim(tags[0], " \t")
	}
	if dates := stored["Last-Modified"]; len(dates) == 1 {
		if _, ok := ParseDate(dates[0]); ok {
			ifModifiedSince = dates[0]
		}
	}
	return ifNoneMatch, ifModifiedSince
}
