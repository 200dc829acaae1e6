package edgecache

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/edgecache/object"
	"github.com/caddyedge/caddy-edge/edgecache/rfc9111"
)

// Header implements http.ResponseWriter. The map starts empty: what stands in
// front of the cache is added to each reply and never stored.
func (fe *fetch) Header() http.Header { return fe.header }

// WriteHeader implements http.ResponseWriter.
func (fe *fetch) WriteHeader(code int) {
	if fe.wrote {
		return
	}
	if code >= 100 && code < 200 {
		fe.flight.announce(code, fe.header.Clone())
		return
	}
	fe.wrote, fe.code = true, code
	now := time.Now()
	switch {
	case code == http.StatusNotModified && fe.conditional && rfc9111.MatchesStored(fe.stored.Header(), fe.header):
		fe.validated(now)
		return
	case code == http.StatusNotModified && fe.conditional:
		// It confirms something else than what is stored.
		fe.discard = true
		fe.h.drop(fe.stored)
		fe.h.flights.closeJoin(fe.flight, fe.primary, fe.key)
		fe.flight.publish(&answer{retry: true})
		fe.flight.cancel(errAnswered)
		return
	case code == http.StatusNotModified:
		// Nobody asked for it, and there is no body to give to anyone.
		fe.discard = true
		fe.h.unshared(&verdict{}, &fe.req, now.Add(markError), fe.primary, fe.key)
		fe.fail(caddyhttp.HandlerError{
			StatusCode: http.StatusBadGateway, Err: errors.New("origin sent 304 to a request without conditions"),
		})
		fe.flight.cancel(errAnswered)
		return
	case code >= 500 && fe.stale(code):
		fe.discard = true
		fe.publishStale(code)
		fe.flight.cancel(errAnswered)
		return
	}
	fe.respond(code, now)
}

// validated brings the stored response up to date (RFC 9111 section 4.3.4).
func (fe *fetch) validated(now time.Time) {
	h, f := fe.h, fe.flight
	fe.discard = true
	merged, v := h.refreshed(fe.policy, &fe.req, &fe.target, fe.stored, fe.names,
		&rfc9111.Response{Status: http.StatusNotModified, Header: fe.header, RequestTime: fe.asked, ResponseTime: now})
	o := fe.stored
	switch {
	case v.store:
		o = o.WithUpdated(v.header, v.freshness, v.tags, f.seq)
		h.put(o)
	case v.onlyThis:
	default:
		h.drop(o)
		o = o.WithUpdated(merged, v.freshness, v.tags, f.seq)
	}
	if !v.shared {
		h.unshared(&v, &fe.req, now.Add(markUncacheable), fe.key)
		f.attach()
	}
	h.flights.closeJoin(f, fe.primary, fe.key)
	f.publish(&answer{object: o, shared: v.shared, forward: http.StatusNotModified, reason: v.reason})
}

// refreshed decides about a stored response that the origin confirmed, and
// returns its updated header.
func (h *Handler) refreshed(policy *rfc9111.Options, req *rfc9111.Request, t *target, o *object.Object, names []string, resp *rfc9111.Response) (http.Header, verdict) {
	merged, d := policy.Refresh(req, o.Status(), o.Header(), resp)
	v := h.judge(d, policy, req, t, merged, resp.ResponseTime)
	const made = rfc9111.FlagCookie | rfc9111.FlagAuthorization
	v.freshness.Flags |= o.Freshness().Flags & made
	if len(union(names, v.vary)) != len(names) {
		v.store, v.shared = false, false // it now varies on more than its key says
	}
	return merged, v
}

// respond starts handing out a response, which is stored when that is allowed.
func (fe *fetch) respond(code int, now time.Time) {
	h, f := fe.h, fe.flight
	v := h.decide(fe.policy, &fe.req, &fe.target, code, fe.header, fe.asked, now)
	if code == statusClientGone && fe.request.Context().Err() != nil {
		v.store, v.shared, v.reason = false, false, reasonDisconnect // the proxy's own word for a cancelled fetch
	}
	if fe.empty {
		v.store, v.shared, v.reason = false, false, reasonNothing
	}
	var vary []string
	if v.store {
		if vary, v.store = fe.rekey(v.vary); !v.store {
			v.shared, v.reason = false, reasonVaryLimit
		}
	}
	fe.verdict = v
	a := &answer{code: code, header: fe.header.Clone(), length: v.length, stored: v.store, reason: v.reason, vary: vary, tags: v.tags, key: fe.key}
	delete(a.header, ownField)
	if v.store && v.shared {
		a.shared = true
		a.common = v.header
	}
	if !a.shared && !fe.turnedAway() {
		until := now.Add(markUncacheable)
		if code >= 400 {
			until = now.Add(markError)
		}
		h.unshared(&v, &fe.req, until, fe.primary, fe.key)
	}
	if !a.shared {
		h.flights.closeJoin(f, fe.primary, fe.key)
	}
	if v.store {
		f.spool.onLost = func() {
			h.flights.closeJoin(f, fe.primary, fe.key)
			if f.spool.refused {
				h.full()
			}
			f.attach()
		}
		f.spool.keep(h.maxObjectSize, v.length)
		a.fresh = v.freshness
	} else {
		f.spool.keep(0, v.length)
		if !v.onlyThis && outdates(code) {
			h.drop(fe.stored)
		}
	}
	f.publish(a)
	if !v.store {
		f.attach()
	}
}

// outdates reports whether a response that is not stored shows that the stored
// one is no longer what the origin has. A client may provoke most errors.
func outdates(code int) bool {
	return code < 400 || code == http.StatusNotFound || code == http.StatusGone
}

// rekey moves the flight from the resource to the variant that its request
// selects. Whoever sees the marker finds the flight under its new key already.
func (fe *fetch) rekey(vary []string) (names []string, ok bool) {
	h, f := fe.h, fe.flight
	key, names, ok := place(fe.primary, fe.names, vary, fe.req.Header)
	if !ok {
		return names, false
	}
	old := fe.key
	if key != old {
		h.flights.alias(f, key)
		fe.key = key
	}
	if len(names) != len(fe.names) {
		h.putMarker(fe.primary, names, f.url, f.seq)
	}
	if key != old {
		h.flights.closeJoin(f, old)
	}
	return names, true
}

// Write implements http.ResponseWriter.
func (fe *fetch) Write(p []byte) (int, error) {
	if !fe.wrote {
		fe.WriteHeader(http.StatusOK)
	}
	if fe.discard {
		return len(p), nil
	}
	fe.n += int64(len(p))
	if fe.verdict.length >= 0 && fe.n > fe.verdict.length {
		return 0, http.ErrContentLength
	}
	if err := fe.flight.spool.write(fe.request.Context(), p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// FlushError implements what http.ResponseController calls. Readers flush by
// themselves whenever they have caught up.
func (fe *fetch) FlushError() error {
	if !fe.wrote {
		fe.WriteHeader(http.StatusOK)
	}
	return nil
}

// Flush implements http.Flusher.
func (fe *fetch) Flush() { _ = fe.FlushError() }
