package edgecache

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/edgecache/object"
	"github.com/caddyedge/caddy-edge/edgecache/rfc9111"
)

// rule returns the first rule that matches, or nil.
func (h *Handler) rule(r *http.Request) (*Rule, error) {
	for _, rule := range h.Rules {
		ok, err := rule.matchers.AnyMatchWithError(r)
		if err != nil {
			return nil, err
		}
		if ok {
			return rule, nil
		}
	}
	return nil, nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return h.serveOther(w, r, next)
	}
	now := time.Now()
	if why := h.passReason(r, now); why != noReason {
		return h.pass(w, r, next, why)
	}
	policy := h.policy
	if len(h.Rules) > 0 {
		rule, err := h.rule(r)
		if err != nil {
			return err
		}
		if rule != nil {
			if rule.Bypass {
				return h.pass(w, r, next, reasonRule)
			}
			policy = rule.policy
		}
	}
	if len(h.Key.Headers) > 0 {
		h.normalize(r.Header)
	}
	t := h.keyer.targetOf(r)
	sc := scratches.Get().(*scratch)
	defer scratches.Put(sc)
	primary, ok := h.keyer.append(sc.buf[:0], &t, r)
	sc.buf = primary
	if !ok || len(primary) > maxKeyLength {
		return h.pass(w, r, next, reasonKey)
	}
	f := h.find(primary, r.Header)
	if !f.ok {
		return h.pass(w, r, next, reasonKey)
	}
	req := parseRequest(r)
	asked, reuse := false, noReason
	if f.object != nil {
		fr := freshnessOf(f.object)
		d := policy.Reuse(&req, &fr, now)
		if d.Forced && !h.forced.take(f.key, now, time.Second) {
			d.Action, d.Reason = d.Unforced, d.UnforcedReason // somebody else's forced validation was a moment ago
		}
		asked, reuse = d.Unforced != rfc9111.Revalidate, reason(d.Reason)
		switch d.Action {
		case rfc9111.Serve:
			f.object.Touch()
			return h.serveObject(w, r, f.object, status{result: hitOrStale(&fr, now), reuse: reuse}, now)
		case rfc9111.ServeStale:
			f.object.Touch()
			t.trusted = trusted(r)
			front := h.refresh(r, next, policy, t, string(primary), f)
			return h.serveObject(w, r, f.object, status{result: ResultStale, reuse: reuse, front: front}, now)
		case rfc9111.Revalidate:
		}
	}
	if req.Directives.OnlyIfCached {
		h.reportOther(w, r, status{result: ResultOnlyIfCached, forward: forwardRequest, reuse: reasonCached})
		// Not an error: a client could fill the error log with it.
		w.WriteHeader(http.StatusGatewayTimeout)
		return nil
	}
	t.trusted = trusted(r)
	return h.fetch(&exchange{
		h: h, w: w, r: r, next: next, policy: policy, req: req, target: t, class: credentials(r.Header), asked: asked, reuse: reuse,
		primary: string(primary), key: string(f.key), names: f.names, stored: f.object,
	})
}

// fetch answers a request that needs the origin.
func (h *Handler) fetch(x *exchange) error {
	w, r, next := x.w, x.r, x.next
	h.normalize(r.Header)
	if r.Method == http.MethodHead {
		return x.serveHead()
	}
	if rg := r.Header["Range"]; len(rg) > 0 && x.stored == nil && !startsWithin(rg[0], maxRangeStart) {
		return next.ServeHTTP(h.note(w, r, status{result: ResultMiss, forward: forwardPartial}), r)
	}
	return x.run()
}

// found is what the store has for a request.
type found struct {
	object *object.Object // the selected response, or nil
	names  []string       // what the resource varies on, when it does
	key    []byte         // the primary key or that of the variant
	ok     bool           // false: the variant can't be keyed
}

// find looks a request up: the resource, and the variant when it varies.
func (h *Handler) find(primary []byte, hd http.Header) found {
	o := h.shared.lookup(stringOf(primary))
	if o == nil || o.Kind() != object.VaryMarker {
		return found{object: o, key: primary, ok: true}
	}
	h.normalize(hd)
	f := found{}
	for name := range o.Vary {
		f.names = append(f.names, name)
	}
	if f.key, f.ok = appendVariant(primary, f.names, hd); !f.ok || len(f.key) > maxKeyLength {
		f.ok = false
		return f
	}
	f.object = h.shared.lookup(stringOf(f.key))
	if f.object != nil && f.object.Kind() == object.VaryMarker {
		f.object = nil
	}
	return f
}
