package rfc9111

import "time"

// Flags are the facts about a stored response that decide how it is reused. The
// values are stable, so that they can be stored.
type Flags uint16

const (
	// FlagNoCache: validate before each use.
	FlagNoCache Flags = 1 << iota
	// FlagMustRevalidate: never serve stale. It stands for must-revalidate,
	// proxy-revalidate and s-maxage (RFC 9111 section 5.2.2.10).
	FlagMustRevalidate
	// FlagSharedMaxAge: FlagMustRevalidate is there only because of s-maxage. The
	// windows of RFC 5861 that the origin wrote beside it are then still valid.
	FlagSharedMaxAge
	// FlagValidatorOnly: stored for its validator alone; validate before each use
	// and never share it with a request that waits for the same fetch.
	FlagValidatorOnly
	// FlagImmutable: a client's reload does not change it (RFC 8246).
	FlagImmutable
	// FlagStaleWhileRevalidate: StaleWhileRevalidate is the origin's word.
	FlagStaleWhileRevalidate
	// FlagStaleIfError: StaleIfError is the origin's word.
	FlagStaleIfError
	// FlagCookie: the content came in answer to a request with a cookie.
	FlagCookie
	// FlagAuthorization: the content came in answer to a request with Authorization.
	FlagAuthorization
)

// Has says that all the flags of other are set.
func (f Flags) Has(other Flags) bool { return f&other == other }

// Freshness is what a cache keeps beside a stored response in order to decide
// about its reuse. It is small and of fixed size; durations are in milliseconds.
type Freshness struct {
	// ResponseTime is when the response was received or last validated, in Unix
	// milliseconds.
	ResponseTime int64
	// InitialAge is corrected_initial_age of RFC 9111 section 4.2.3.
	InitialAge int64
	// Lifetime is freshness_lifetime; 0 means always stale.
	Lifetime int64
	// StaleWhileRevalidate and StaleIfError are the windows after the lifetime
	// that the origin gave; without the flag they are 0 and mean nothing.
	StaleWhileRevalidate, StaleIfError int64
	Flags                              Flags
}

// Age returns current_age at now (RFC 9111 section 4.2.3). A clock that went
// back does not make a response younger than it was on arrival.
func (f *Freshness) Age(now time.Time) time.Duration {
	resident := max(0, now.UnixMilli()-f.ResponseTime)
	return millis(f.InitialAge + resident)
}

// FreshFor returns how long the response stays fresh: zero or negative when it
// is stale. It looks at the lifetime only, not at the flags.
func (f *Freshness) FreshFor(now time.Time) time.Duration {
	return millis(f.Lifetime) - f.Age(now)
}

// TTL returns the lifetime less the age, both in whole seconds, so that Age and
// the ttl parameter of RFC 9211 section 2.4 add up to the lifetime. It is negative
// once the response has been stale for a second.
func (f *Freshness) TTL(now time.Time) int64 {
	return int64(millis(f.Lifetime)/time.Second - f.Age(now)/time.Second)
}

// StaleWindow returns how long after its lifetime the response may still be
// served, for whatever reason but a client's max-stale: the longer one of the
// windows of RFC 5861, the origin's or else the operator's. A response without
// validator is of no use afterwards.
func (o *Options) StaleWindow(f *Freshness) time.Duration {
	return max(o.revalidateWindow(f), o.errorWindow(f))
}

// revalidateWindow is the time after the lifetime in which the response may be
// served while it is refreshed (RFC 5861 section 3).
func (o *Options) revalidateWindow(f *Freshness) time.Duration {
	return window(f, FlagStaleWhileRevalidate, f.StaleWhileRevalidate, o.StaleWhileRevalidate)
}

// errorWindow is the time after the lifetime in which the response may stand in
// for an error (RFC 5861 section 4).
func (o *Options) errorWindow(f *Freshness) time.Duration {
	return window(f, FlagStaleIfError, f.StaleIfError, o.StaleIfError)
}

func window(f *Freshness, own Flags, origin int64, operator time.Duration) time.Duration {
	const never = FlagNoCache | FlagValidatorOnly
	switch {
	case f.Flags&never != 0:
		return 0
	case f.Flags.Has(own):
		if f.Flags.Has(FlagMustRevalidate) && !f.Flags.Has(FlagSharedMaxAge) {
			return 0
		}
		return millis(origin)
	case f.Flags.Has(FlagMustRevalidate):
		return 0
	}
	return operator
}

// millis turns milliseconds into a duration; it clamps at two MaxDelta, which no
// sum of a lifetime and a window exceeds, so that nothing overflows.
func millis(ms int64) time.Duration {
	const limit = int64(2 * MaxDelta / time.Millisecond)
	return time.Duration(min(ms, limit)) * time.Millisecond
}

// age returns corrected_initial_age.
func (r *Response) age() time.Duration {
	var delay time.Duration
	if !r.RequestTime.IsZero() {
		delay = max(0, r.ResponseTime.Sub(r.RequestTime))
	}
	corrected := ageField(r.Header["Age"]) + delay
	date, ok := dateField(r.Header["Date"], r.ResponseTime)
	if !ok {
		return min(corrected, MaxDelta)
	}
	// Date is cut off to whole seconds. Without doing the same here each response
	// would be up to a second old on arrival.
	apparent := r.ResponseTime.Truncate(time.Second).Sub(date)
	return min(max(apparent, corrected), MaxDelta)
}

// ageField returns age_value: the first member of the first line; what is not a
// number of seconds is ignored (RFC 9111 section 5.1).
func ageField(values []string) time.Duration {
	if len(values) == 0 {
		return 0
	}
	m, _ := nextMember(values[0])
	if m.hasArg {
		return 0
	}
	age, _ := parseDelta(m.name)
	return age
}
