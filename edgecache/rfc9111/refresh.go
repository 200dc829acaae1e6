package rfc9111

import "net/http"

// Refresh decides about a stored response that a 304 validated: it returns the
// updated header, as Update304 does, and the decision that Storable makes of it.
// Without Store the updated response must not be kept; with OnlyThis the stored
// one may stay as it was, otherwise it is to be dropped. A cookie of the request
// does not matter, since it had no part in the stored content. FlagCookie and
// FlagAuthorization are about that content too: the caller knows them. The header
// is not filtered: pass it through StoredHeader before keeping it.
func (o *Options) Refresh(req *Request, status int, stored http.Header, notModified *Response) (http.Header, StoreDecision) {
	header := Update304(stored, notModified.Header)
	if !hasField(notModified.Header, "Date") {
		// The stored Date would make the response as old as it was before.
		header["Date"] = []string{notModified.ResponseTime.UTC().Format(http.TimeFormat)}
	}
	judged := *notModified
	judged.Status = status
	judged.Header = header
	if age := notModified.Header["Age"]; len(age) > 0 {
		judged.Header = header.Clone()
		judged.Header["Age"] = age
	}
	d := o.storable(req, &judged, false)
	d.Freshness.Flags &^= FlagCookie | FlagAuthorization
	return header, d
}
