package rfc9111

// Reason says why a decision was made. The set is closed; String is stable and
// is what goes to Cache-Status, metrics and logs. The zero value is ReasonNone.
type Reason uint8

// Reasons for which a response is stored: the source of its freshness.
const (
	// ReasonNone is the zero value: nothing was decided.
	ReasonNone Reason = iota
	// ReasonExplicit: the origin gave a lifetime (s-maxage, max-age, Expires).
	ReasonExplicit
	// ReasonHeuristic: a fraction of the time since Last-Modified.
	ReasonHeuristic
	// ReasonDefaultTTL: the operator's lifetime for responses that have none.
	ReasonDefaultTTL
	// ReasonNegativeTTL: the operator's lifetime for this status.
	ReasonNegativeTTL
	// ReasonOverride: the operator's lifetime replaced the origin's.
	ReasonOverride
	// ReasonValidatorOnly: there is only a validator; each use is validated.
	ReasonValidatorOnly
)

// Reasons for which a response is not stored. ReasonNoCache is also the reason
// for storing it when it has a validator, and for revalidating it then.
const (
	// ReasonNoCache: the response must be validated before each use.
	ReasonNoCache Reason = iota + 16
	// ReasonNoStore: the response forbids storing.
	ReasonNoStore
	// ReasonPrivate: the response is for one user.
	ReasonPrivate
	// ReasonAuthorization: the request had credentials (RFC 9111 section 3.5).
	ReasonAuthorization
	// ReasonSetCookie: the response sets a cookie.
	ReasonSetCookie
	// ReasonCookie: the response came in answer to a cookie, and would be validated
	// at each use, so that one user's validator could select another's page, or has
	// a lifetime that is not the origin's word.
	ReasonCookie
	// ReasonVaryStar: the response depends on more than the request's fields.
	ReasonVaryStar
	// ReasonNoFreshness: neither lifetime nor validator.
	ReasonNoFreshness
	// ReasonUnparsable: the lifetime cannot be parsed, and there is no validator.
	ReasonUnparsable
	// ReasonExpired: stale on arrival and of no use afterwards.
	ReasonExpired
	// ReasonStatus: responses of this status are about one request or
	// connection, or are forbidden to be stored.
	ReasonStatus
	// ReasonMethod: only responses to GET are stored.
	ReasonMethod
	// ReasonPartial: 206 and 304 are not complete responses.
	ReasonPartial
	// ReasonMustUnderstand: the status is not one whose caching is understood.
	ReasonMustUnderstand
	// ReasonRequestNoStore: the client forbids storing.
	ReasonRequestNoStore
)

// Reasons for the way a stored response is reused.
const (
	// ReasonFresh: the stored response is fresh.
	ReasonFresh Reason = iota + 40
	// ReasonStale: the stored response is stale.
	ReasonStale
	// ReasonStaleWhileRevalidate: stale, within the window of RFC 5861.
	ReasonStaleWhileRevalidate
	// ReasonMaxStale: stale, and the client accepts that.
	ReasonMaxStale
	// ReasonRequestNoCache: the client wants a validation.
	ReasonRequestNoCache
	// ReasonRequestMaxAge: older than the client accepts.
	ReasonRequestMaxAge
	// ReasonRequestMinFresh: not fresh for as long as the client wants.
	ReasonRequestMinFresh
	// ReasonRequestMaxStale: stale for longer than the client accepts.
	ReasonRequestMaxStale
	// ReasonOnlyIfCached: the origin would be needed, and the client forbids it.
	ReasonOnlyIfCached
)

var reasonNames = [...]string{
	ReasonNone:                 "none",
	ReasonExplicit:             "explicit",
	ReasonHeuristic:            "heuristic",
	ReasonDefaultTTL:           "default-ttl",
	ReasonNegativeTTL:          "negative-ttl",
	ReasonOverride:             "override",
	ReasonValidatorOnly:        "validator-only",
	ReasonNoCache:              "no-cache",
	ReasonNoStore:              "no-store",
	ReasonPrivate:              "private",
	ReasonAuthorization:        "authorization",
	ReasonSetCookie:            "set-cookie",
	ReasonCookie:               "cookie",
	ReasonVaryStar:             "vary-star",
	ReasonNoFreshness:          "no-freshness",
	ReasonUnparsable:           "unparsable",
	ReasonExpired:              "expired",
	ReasonStatus:               "status",
	ReasonMethod:               "method",
	ReasonPartial:              "partial",
	ReasonMustUnderstand:       "must-understand",
	ReasonRequestNoStore:       "request-no-store",
	ReasonFresh:                "fresh",
	ReasonStale:                "stale",
	ReasonStaleWhileRevalidate: "stale-while-revalidate",
	ReasonMaxStale:             "max-stale",
	ReasonRequestNoCache:       "request-no-cache",
	ReasonRequestMaxAge:        "request-max-age",
	ReasonRequestMinFresh:      "request-min-fresh",
	ReasonRequestMaxStale:      "request-max-stale",
	ReasonOnlyIfCached:         "only-if-cached",
}

// String returns the stable kebab-case name, or "unknown" for a value that is
// not one of the constants.
func (r Reason) String() string {
	if int(r) < len(reasonNames) && reasonNames[r] != "" {
		return reasonNames[r]
	}
	return "unknown"
}

// Reasons returns every reason, in ascending order, for the registration of
// metrics before the first request.
func Reasons() []Reason {
	var all []Reason
	for i, name := range reasonNames {
		if name != "" {
			all = append(all, Reason(i))
		}
	}
	return all
}
