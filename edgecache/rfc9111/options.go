package rfc9111

import (
	"net/http"
	"time"
)

// ClientControl says how far a client may make the cache contact the origin, by
// no-cache, max-age and min-fresh, or keep a response out of it, by no-store.
type ClientControl uint8

const (
	// Collapse, the default, is Honour with ReuseDecision.Forced set where only
	// the client asked, so that the caller can limit how often that happens.
	Collapse ClientControl = iota
	// Honour obeys the client.
	Honour
	// Ignore takes no notice of the client's cache directives.
	Ignore
)

// Options is the operator's policy. The zero value is a strict shared cache by
// RFC 9111 that stores nothing of which the origin has not said how long it is
// fresh or how it is validated. An Options is read only and may be shared.
type Options struct {
	// Targets are the names of the targeted fields (RFC 9213), the most specific
	// first. Nil means that there are none.
	Targets []string
	// Heuristic is the fraction of the time between Last-Modified and Date for
	// which a response without a lifetime is fresh (RFC 9111 section 4.2.2); 0.1
	// is usual, 0 turns it off. It applies to the statuses below 400 that are
	// cacheable by default, and to all with public.
	Heuristic float64
	// HeuristicMax is the upper limit of that; 0 means none.
	HeuristicMax time.Duration
	// CookiesHarmless says that the operator keeps requests with the cookies that
	// matter away from the cache. A response to any other cookie may then have a
	// lifetime that is not the origin's own word: TTL, Heuristic or NegativeTTL.
	CookiesHarmless bool
	// TTL is the lifetime of successes and permanent redirects for which neither
	// the origin nor Heuristic gives one; 0 turns it off.
	TTL time.Duration
	// Override replaces the lifetime that the origin gave, and is that of the
	// statuses that are cacheable by default when it gave none; errors are left
	// alone. 0 turns it off. no-cache, no-store and private stay in force.
	Override time.Duration
	// OverrideAll makes Override apply to every status below 400 and replace
	// no-cache, no-store and private as well. It never touches credentials,
	// cookies, Vary: * and must-revalidate.
	OverrideAll bool
	// NegativeTTL are lifetimes by status for responses without their own.
	NegativeTTL map[int]time.Duration
	// StaleWhileRevalidate and StaleIfError are the windows of RFC 5861 for
	// responses that do not have their own; 0 turns them off.
	StaleWhileRevalidate, StaleIfError time.Duration
	// ClientControl says what a client may demand; the default is Collapse.
	ClientControl ClientControl
	// StoreSetCookie makes responses with Set-Cookie storable. Every client then
	// gets the cookie of one. Off by default.
	StoreSetCookie bool
	// MaxTTL is the upper limit of every lifetime; 0 means none.
	MaxTTL time.Duration
}

// Request is the client's request. The keys of Header must be canonical.
type Request struct {
	Method string
	Header http.Header
	// Directives are those of Header, from ParseRequest.
	Directives Directives
}

// Response is the origin's final response.
type Response struct {
	Status int
	// Header must have canonical keys.
	Header http.Header
	// RequestTime is when the request was sent; zero means at ResponseTime.
	RequestTime time.Time
	// ResponseTime is when the header was received.
	ResponseTime time.Time
}
