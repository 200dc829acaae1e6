package rfc9111

import (
	"net/http"
	"time"
)

// Action is what a cache does with a stored response.
type Action uint8

const (
	// Revalidate, the zero value: the origin must be contacted before the
	// response is used, if possible with the response's validators.
	Revalidate Action = iota
	// Serve: the response is used as it is.
	Serve
	// ServeStale: the response is used at once and refreshed in the background.
	ServeStale
)

// String returns "revalidate", "serve" or "serve-stale".
func (a Action) String() string {
	switch a {
	case Serve:
		return "serve"
	case ServeStale:
		return "serve-stale"
	case Revalidate:
	}
	return "revalidate"
}

// ReuseDecision says how a stored response answers a request.
type ReuseDecision struct {
	Action Action
	Reason Reason
	// Forced, with Revalidate, says that only the client asked for it and that
	// Options.ClientControl is Collapse: the caller may do Unforced instead.
	Forced bool
	// Unforced and UnforcedReason are what it was if the client had not asked.
	Unforced       Action
	UnforcedReason Reason
}

// Reuse decides about a stored response that the request's key and Vary select
// (RFC 9111 sections 4 and 5.2.1). When the origin would be needed but the client
// forbids that, the reason is ReasonOnlyIfCached and the answer should be 504.
func (o *Options) Reuse(req *Request, f *Freshness, now time.Time) ReuseDecision {
	freshFor := f.FreshFor(now)
	own := o.reuseUnasked(f, freshFor)
	if o.ClientControl == Ignore {
		return own
	}
	d := &req.Directives
	decision := own
	if own.Action != Revalidate {
		if reason := refused(d, f, freshFor, f.Age(now)); reason != ReasonNone {
			decision.Action = Revalidate
			decision.Reason = reason
			decision.Forced = o.ClientControl == Collapse
		}
	} else if own.Reason == ReasonStale && acceptsStale(d, f, freshFor, f.Age(now)) {
		decision.Action, decision.Reason = Serve, ReasonMaxStale
	}
	if decision.Action == Revalidate && d.OnlyIfCached {
		decision.Reason = ReasonOnlyIfCached
	}
	return decision
}

// reuseUnasked decides without regard to the client's directives.
func (o *Options) reuseUnasked(f *Freshness, freshFor time.Duration) ReuseDecision {
	decide := func(a Action, r Reason) ReuseDecision {
		return ReuseDecision{Action: a, Reason: r, Unforced: a, UnforcedReason: r}
	}
	switch {
	case f.Flags.Has(FlagNoCache):
		return decide(Revalidate, ReasonNoCache)
	case f.Flags.Has(FlagValidatorOnly):
		return decide(Revalidate, ReasonValidatorOnly)
	case freshFor > 0:
		return decide(Serve, ReasonFresh)
	case -freshFor < o.revalidateWindow(f):
		return decide(ServeStale, ReasonStaleWhileRevalidate)
	}
	return decide(Revalidate, ReasonStale)
}

// refused returns the request directive that does not accept a response which
// could be served, or ReasonNone.
func refused(d *Directives, f *Freshness, freshFor, age time.Duration) Reason {
	if d.NoCache {
		return ReasonRequestNoCache
	}
	fresh := freshFor > 0
	// RFC 8246 section 2.1: a plain reload does not validate what is immutable.
	mutable := !fresh || !f.Flags.Has(FlagImmutable)
	// max-age without max-stale also says that nothing stale is wanted.
	tooOld := age > d.MaxAge || d.MaxAge == 0 || (!fresh && d.MaxStale == Absent)
	if d.MaxAge != Absent && mutable && tooOld {
		return ReasonRequestMaxAge
	}
	if d.MaxStale != Absent && -freshFor > d.MaxStale {
		return ReasonRequestMaxStale
	}
	if d.MinFresh != Absent && freshFor < d.MinFresh {
		return ReasonRequestMinFresh
	}
	return ReasonNone
}

// acceptsStale says that max-stale of the request lets the stale response be
// served. It gives way to must-revalidate and its kind, and to the other
// directives of the request.
func acceptsStale(d *Directives, f *Freshness, freshFor, age time.Duration) bool {
	return d.MaxStale != Absent && !f.Flags.Has(FlagMustRevalidate) &&
		refused(d, f, freshFor, age) == ReasonNone
}

// StaleOnError says that the stored response may be served instead of a failed
// fetch. status is that of the failure, or 0 when there was no response; only
// 500, 502, 503 and 504 count as failures (RFC 5861 section 4). The window is the
// longer of the request's, and the origin's or else the operator's. no-cache,
// must-revalidate and their kind forbid it. The client's no-cache does so only
// with Honour: it is a wish not to get what is old, and there is nothing newer.
func (o *Options) StaleOnError(req *Request, f *Freshness, status int, now time.Time) bool {
	switch status {
	case 0, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
	default:
		return false
	}
	d := &req.Directives
	if f.Flags&(FlagNoCache|FlagValidatorOnly) != 0 || (d.NoCache && o.ClientControl == Honour) {
		return false
	}
	freshFor := f.FreshFor(now)
	if freshFor > 0 {
		return true
	}
	allowed := o.errorWindow(f)
	if d.StaleIfError != Absent && o.ClientControl != Ignore && !f.Flags.Has(FlagMustRevalidate) {
		allowed = max(allowed, d.StaleIfError)
	}
	return -freshFor < allowed
}
