package edgecache

import "github.com/caddyedge/caddy-edge/edgecache/rfc9111"

// reason says why the cache decided as it did. The set is closed: the values below
// ownReasons are those of rfc9111.Reason, the others are the handler's own. String is
// what goes to Cache-Status, metrics, logs, placeholders and traces alike.
type reason uint8

// noReason is the zero value: nothing was decided.
const noReason = reason(rfc9111.ReasonNone)

// ownReasons is the first of the handler's own.
const ownReasons reason = 128

// Reasons for which a response is not stored.
const (
	reasonTooLarge   = iota + ownReasons // larger than may be
	reasonTrailer                        // it announces trailer fields
	reasonVaryLimit                      // too many fields in Vary, or a variant that can't be keyed
	reasonMismatch                       // the type does not fit the extension of the path
	reasonStream                         // an event stream, or one that is to be passed on at once
	reasonTagLimit                       // too many tags, or too long ones
	reasonScheme                         // a redirect to the other scheme, which is not in the key
	reasonNothing                        // the next handlers wrote nothing
	reasonPartly                         // the client's own conditions reached the origin
	reasonDisconnect                     // the fetch ended because nobody waited for it
	reasonBadLength                      // a Content-Length that is none

	// Reasons for which a request does not meet the cache.
	reasonHost        // it has no Host
	reasonContent     // it has content
	reasonUpgrade     // the connection is to be taken over
	reasonConnection  // Connection names fields beside the connection's own
	reasonDevelopment // the operator has turned the cache off for a time
	reasonRule        // a rule with bypass
	reasonAsked       // a handler in front wants it so
	reasonKey         // it can't be keyed
	reasonIncremental // it is to be passed on at once
	reasonGRPC        // it is a call
	reasonHead        // a HEAD that the store can't answer

	// reasonStandIn: a stale response is served in place of a failure.
	reasonStandIn

	reasonsEnd
)

// The handler gives these reasons of the policy for more than the policy does.
const (
	reasonCookie = reason(rfc9111.ReasonCookie) // bypass_cookie
	reasonMethod = reason(rfc9111.ReasonMethod) // a safe method beside GET and HEAD
	reasonStar   = reason(rfc9111.ReasonVaryStar)
	reasonCached = reason(rfc9111.ReasonOnlyIfCached)
)

var ownNames = [...]string{
	reasonTooLarge - ownReasons:    "too-large",
	reasonTrailer - ownReasons:     "trailer",
	reasonVaryLimit - ownReasons:   "vary-limit",
	reasonMismatch - ownReasons:    "content-type-mismatch",
	reasonStream - ownReasons:      "event-stream",
	reasonTagLimit - ownReasons:    "tag-limit",
	reasonScheme - ownReasons:      "scheme-redirect",
	reasonNothing - ownReasons:     "no-response",
	reasonPartly - ownReasons:      "conditional-request",
	reasonDisconnect - ownReasons:  "client-closed",
	reasonBadLength - ownReasons:   "bad-length",
	reasonHost - ownReasons:        "host",
	reasonContent - ownReasons:     "request-body",
	reasonUpgrade - ownReasons:     "upgrade",
	reasonConnection - ownReasons:  "connection",
	reasonDevelopment - ownReasons: "development",
	reasonRule - ownReasons:        "rule",
	reasonAsked - ownReasons:       "asked",
	reasonKey - ownReasons:         "key",
	reasonIncremental - ownReasons: "incremental",
	reasonGRPC - ownReasons:        "grpc",
	reasonHead - ownReasons:        "head",
	reasonStandIn - ownReasons:     "stale-if-error",
}

// String returns the stable name, and "" for noReason.
func (r reason) String() string {
	switch {
	case r == noReason:
		return ""
	case r < ownReasons:
		return rfc9111.Reason(r).String()
	}
	return ownNames[r-ownReasons]
}

// reasons returns all of them but noReason.
func reasons() []reason {
	var all []reason
	for _, r := range rfc9111.Reasons() {
		if r != rfc9111.ReasonNone {
			all = append(all, reason(r))
		}
	}
	for r := ownReasons; r < reasonsEnd; r++ {
		all = append(all, r)
	}
	return all
}
