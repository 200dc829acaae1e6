package rfc9111

import (
	"net/http"
	"net/url"
	"strings"
)

// IsUnsafe says that the method may change the resource, which includes every
// method that is not known to be safe (RFC 9110 section 9.2.1).
func IsUnsafe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, "QUERY", "PROPFIND", "REPORT", "SEARCH":
		return false
	}
	return true
}

// InvalidationTargets returns what a cache must not reuse any more after an
// unsafe request (RFC 9111 section 4.4): the target URI, and those in Location
// and Content-Location that have the same origin. After a safe method, and after
// any status that is not 2xx or 3xx, it returns nil. reqURL should be absolute;
// the results then are, without user information and fragment, and do not repeat.
func InvalidationTargets(method string, status int, reqURL *url.URL, h http.Header) []*url.URL {
	if !IsUnsafe(method) || status < 200 || status > 399 {
		return nil
	}
	self := *reqURL
	self.User, self.Fragment, self.RawFragment = nil, "", ""
	targets := []*url.URL{&self}
	seen := map[string]bool{self.String(): true}
	for _, name := range [...]string{"Location", "Content-Location"} {
		for _, value := range h[name] {
			ref, err := url.Parse(strings.Trim(value, " \t"))
			if err != nil {
				continue
			}
			target := self.ResolveReference(ref)
			target.User, target.Fragment, target.RawFragment = nil, "", ""
			if key := target.String(); sameOrigin(&self, target) && !seen[key] {
				seen[key] = true
				targets = append(targets, target)
			}
		}
	}
	return targets
}

// sameOrigin compares scheme, host and port (RFC 9110 section 4.3.1).
func sameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	switch strings.ToLower(u.Scheme) {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}
