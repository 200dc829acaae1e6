package rfc9111

import (
	"net/http"
	"slices"
)

// StoreDecision says whether a response is stored.
type StoreDecision struct {
	Store bool
	// Reason is the source of the lifetime, or why the response is not stored.
	Reason Reason
	// Freshness is to be kept with the response. It is valid only with Store.
	Freshness Freshness
	// ErrorStatus says that the status is 400 or more.
	ErrorStatus bool
}

// Storable decides whether a shared cache stores the response (RFC 9111 section
// 3). Beyond the RFC it refuses Set-Cookie, and responses to requests with a
// cookie that have only a validator or a lifetime that was not the origin's word,
// unless the options or public allow them.
func (o *Options) Storable(req *Request, resp *Response) StoreDecision {
	return o.storable(req, resp, hasField(req.Header, "Cookie"))
}

// storable is Storable for content that was made with or without a cookie.
func (o *Options) storable(req *Request, resp *Response, cookie bool) StoreDecision {
	directives, targeted := ParseResponse(resp.Header, o.Targets)
	d := &directives
	decision := StoreDecision{ErrorStatus: resp.Status >= 400}
	if decision.Reason = o.forbidden(req, resp, d); decision.Reason != ReasonNone {
		return decision
	}
	l := o.lifetime(d, targeted, resp)
	f := o.describe(resp, d, l)
	if cookie {
		f.Flags |= FlagCookie
	}
	if hasField(req.Header, "Authorization") {
		f.Flags |= FlagAuthorization
	}
	decision.Store, decision.Reason = o.useful(resp, d, &f, l.reason, cookie)
	if decision.Store && !hasValidator(resp.Header) && f.FreshFor(resp.ResponseTime)+o.StaleWindow(&f) <= 0 {
		decision.Store, decision.Reason = false, ReasonExpired
		if l.reason == ReasonUnparsable {
			decision.Reason = ReasonUnparsable
		}
	}
	if decision.Store {
		decision.Freshness = f
	}
	return decision
}

// OnlyThis says that a response is not stored because of who asked, so that it
// says nothing about the one that is stored for everybody: the request forbids
// it, or has credentials, and what answers these is for their owner. A page may be
// public for some and private, set a cookie, or redirect, for others.
func (d *StoreDecision) OnlyThis(req *Request) bool {
	is := func(reasons ...Reason) bool { return slices.Contains(reasons, d.Reason) }
	switch {
	case d.Store:
		return false
	case is(ReasonAuthorization, ReasonRequestNoStore, ReasonCookie):
		return true
	case is(ReasonPrivate, ReasonSetCookie, ReasonNoStore, ReasonNoCache):
		return hasCredentials(req.Header)
	}
	return is(ReasonNoFreshness, ReasonExpired) && !d.ErrorStatus && hasCredentials(req.Header)
}

func hasCredentials(h http.Header) bool {
	return hasField(h, "Cookie") || hasField(h, "Authorization")
}

// useful decides by what the response can be used for: while it is fresh, after
// a validation, or not at all. It sets FlagValidatorOnly.
func (o *Options) useful(resp *Response, d *Directives, f *Freshness, source Reason, cookie bool) (bool, Reason) {
	validator := hasValidator(resp.Header)
	shared := d.Public || d.SMaxAge != Absent
	switch {
	case f.Flags.Has(FlagNoCache):
		if !validator {
			return false, ReasonNoCache
		}
		source = ReasonNoCache
	case source == ReasonNoFreshness:
		if !validator || resp.Status != http.StatusOK || hasField(resp.Header, "Set-Cookie") {
			return false, ReasonNoFreshness
		}
		f.Flags |= FlagValidatorOnly
		source, shared = ReasonValidatorOnly, false
	case f.Lifetime > 0 && (!guessed(source) || !cookie || o.CookiesHarmless):
		return true, source
	}
	// The rest is used after a validation, or by a guess. The validator of one
	// user's page must not select it for another, and nobody has said that the page
	// is the same for both.
	if cookie && !shared {
		return false, ReasonCookie
	}
	return true, source
}

// forbidden returns the rule that keeps the response out whatever its lifetime,
// or ReasonNone.
func (o *Options) forbidden(req *Request, resp *Response, d *Directives) Reason {
	all := o.overridesAll(resp.Status)
	switch {
	case req.Method != http.MethodGet:
		return ReasonMethod
	case resp.Status == http.StatusPartialContent || resp.Status == http.StatusNotModified:
		return ReasonPartial
	case unstorableStatus(resp.Status):
		return ReasonStatus
	case d.MustUnderstand && !understoodStatus(resp.Status):
		return ReasonMustUnderstand
	case d.NoStore && !d.MustUnderstand && !all:
		return ReasonNoStore
	case req.Directives.NoStore && o.ClientControl != Ignore:
		return ReasonRequestNoStore
	case d.Private && !all:
		return ReasonPrivate
	case hasField(req.Header, "Authorization") && !d.Public && !d.MustRevalidate && d.SMaxAge == Absent:
		return ReasonAuthorization
	case hasField(resp.Header, "Set-Cookie") && !o.StoreSetCookie && !omits(d, "Set-Cookie"):
		return ReasonSetCookie
	}
	if _, star := ParseVary(resp.Header["Vary"]); star {
		return ReasonVaryStar
	}
	return ReasonNone
}

// describe builds what is kept with the response.
func (o *Options) describe(resp *Response, d *Directives, l lifetime) Freshness {
	f := Freshness{
		ResponseTime: resp.ResponseTime.UnixMilli(),
		InitialAge:   resp.age().Milliseconds(),
		Lifetime:     l.length.Milliseconds(),
	}
	set := func(on bool, flag Flags) {
		if on {
			f.Flags |= flag
		}
	}
	set(d.NoCache && !o.overridesAll(resp.Status), FlagNoCache)
	strict := d.MustRevalidate || d.ProxyRevalidate
	// What cannot be understood gets no extra time either.
	strict = strict || l.reason == ReasonUnparsable
	set(strict || d.SMaxAge != Absent, FlagMustRevalidate)
	set(!strict && d.SMaxAge != Absent, FlagSharedMaxAge)
	set(d.Immutable, FlagImmutable)
	if d.StaleWhileRevalidate != Absent {
		f.Flags |= FlagStaleWhileRevalidate
		f.StaleWhileRevalidate = d.StaleWhileRevalidate.Milliseconds()
	}
	if d.StaleIfError != Absent {
		f.Flags |= FlagStaleIfError
		f.StaleIfError = d.StaleIfError.Milliseconds()
	}
	return f
}

// overridesAll says that the operator's lifetime stands above the origin's
// prohibitions; errors keep theirs, because Override does not apply to them.
func (o *Options) overridesAll(status int) bool {
	return o.Override > 0 && o.OverrideAll && status < 400
}

// omits says that the field is left out of what is stored because the response
// has a qualified no-cache or private that names it.
func omits(d *Directives, field string) bool {
	return slices.Contains(d.NoCacheFields, field) || slices.Contains(d.PrivateFields, field)
}

func hasField(h http.Header, canonical string) bool {
	_, ok := h[canonical]
	return ok
}
