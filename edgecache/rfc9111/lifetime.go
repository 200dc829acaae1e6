package rfc9111

import "time"

// lifetime is freshness_lifetime and where it comes from.
type lifetime struct {
	length time.Duration
	// reason is ReasonUnparsable, with length 0, when the origin's word cannot be
	// understood, and ReasonNoFreshness when there is none.
	reason Reason
}

// guessed says that a lifetime is neither the origin's word nor one that the
// operator puts above it.
func guessed(source Reason) bool {
	return source == ReasonHeuristic || source == ReasonDefaultTTL || source == ReasonNegativeTTL
}

// explicit returns the origin's lifetime (RFC 9111 section 4.2.1).
func explicit(d *Directives, targeted string, resp *Response) lifetime {
	if d.Invalid {
		return lifetime{0, ReasonUnparsable}
	}
	if d.SMaxAge != Absent {
		return lifetime{d.SMaxAge, ReasonExplicit}
	}
	if d.MaxAge != Absent {
		return lifetime{d.MaxAge, ReasonExplicit}
	}
	values := resp.Header["Expires"]
	if targeted != "" || len(values) == 0 {
		return lifetime{0, ReasonNoFreshness}
	}
	expires, ok := dateField(values, resp.ResponseTime)
	if !ok {
		return lifetime{0, ReasonUnparsable}
	}
	return lifetime{between(resp.date(), expires), ReasonExplicit}
}

// lifetime returns the lifetime under the operator's options.
func (o *Options) lifetime(d *Directives, targeted string, resp *Response) lifetime {
	l := explicit(d, targeted, resp)
	byDefault := heuristicStatus(resp.Status) || d.Public
	guess := o.heuristic(resp)
	overrides := o.Override > 0 && resp.Status < 400 && (byDefault || l.reason != ReasonNoFreshness)
	switch {
	case overrides || o.overridesAll(resp.Status):
		l = lifetime{o.Override, ReasonOverride}
	case l.reason != ReasonNoFreshness:
	case o.NegativeTTL[resp.Status] > 0:
		l = lifetime{o.NegativeTTL[resp.Status], ReasonNegativeTTL}
	case guess > 0 && byDefault && (resp.Status < 400 || d.Public): // an error may be one client's doing
		l = lifetime{guess, ReasonHeuristic}
	case o.TTL > 0 && byDefault && resp.Status < 400:
		l = lifetime{o.TTL, ReasonDefaultTTL}
	}
	if o.MaxTTL > 0 {
		l.length = min(l.length, o.MaxTTL)
	}
	l.length = min(l.length, MaxDelta)
	return l
}

// heuristic returns the share of the time since the last modification, or 0.
func (o *Options) heuristic(resp *Response) time.Duration {
	modified, ok := dateField(resp.Header["Last-Modified"], resp.ResponseTime)
	if !ok || o.Heuristic <= 0 {
		return 0
	}
	// The product may be too large for a Duration, so compare before converting.
	share := float64(between(modified, resp.date())) * o.Heuristic
	length := time.Duration(min(share, float64(MaxDelta)))
	if o.HeuristicMax > 0 {
		length = min(length, o.HeuristicMax)
	}
	return length
}

// date is the Date field, or the time of arrival when there is no valid one (RFC
// 9110 section 6.6.1).
func (r *Response) date() time.Time {
	if date, ok := dateField(r.Header["Date"], r.ResponseTime); ok {
		return date
	}
	return r.ResponseTime
}

// between returns the time from one date to another, at least 0.
func between(from, to time.Time) time.Duration { return max(0, to.Sub(from)) }
