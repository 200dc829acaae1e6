package edgecache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgecache/object"
	"github.com/caddyedge/caddy-edge/edgecache/purge"
	"github.com/caddyedge/caddy-edge/edgecache/rfc9111"
	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

// fetch is one run of the next handlers on behalf of a flight, detached from
// the client that caused it.
type fetch struct {
	h       *Handler
	ctx     context.Context // ends with the flight
	flight  *flight
	policy  *rfc9111.Options
	request *http.Request // the detached one
	front   *front        // of the client's request
	req     rfc9111.Request
	target  target
	primary string
	key     string         // where the flight is found, later the key of the variant
	names   []string       // fields that the resource is known to vary on
	stored  *object.Object // the stored response, for validation and for errors; may be nil
	asked   time.Time

	background  bool // no client waits for it
	conditional bool // the origin is asked whether the stored response still holds
	header      http.Header
	wrote       bool
	code        int
	discard     bool
	empty       bool // the next handlers wrote nothing
	n           int64
	verdict     verdict
}

// newFetch makes a fetch and its flight, which others may join at once; start
// has to follow.
func (h *Handler) newFetch(r *http.Request, policy *rfc9111.Options, t target, primary, key string, names []string, stored *object.Object) *fetch {
	now := time.Now()
	seq := h.shared.purges.Begin()
	if stored != nil && h.shared.purges.Check(stored) == purge.Gone {
		stored = nil // purged since the look into the store
	}
	fe := &fetch{
		h: h, policy: policy, target: t, primary: primary, key: key, names: names, stored: stored,
		asked: now, header: make(http.Header),
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	fe.ctx = ctx
	fe.flight = &flight{
		spool:    newSpool(h.shared.memory, h.stallTimeout),
		table:    h.flights,
		cancel:   cancel,
		seq:      seq,
		url:      t.url(),
		target:   t,
		finished: make(chan struct{}),
		started:  now,
		timeout:  h.fetchTimeout,
	}
	fe.flight.deadline = time.AfterFunc(h.fetchTimeout, fe.flight.expire)
	return fe
}

// start lets the fetch run on behalf of the client's request. The flight may have
// been joined by now: a panic on the way ends it like a failed fetch.
func (fe *fetch) start(r *http.Request, next caddyhttp.Handler) {
	prepared := false
	defer func() {
		if !prepared {
			fe.end(caddyhttp.HandlerError{StatusCode: http.StatusInternalServerError, Err: errUnprepared})
		}
	}()
	fe.prepare(r)
	prepared = true
	go fe.run(next)
}

// prepare copies everything that the fetch takes from the client's request, on
// the client's goroutine.
func (fe *fetch) prepare(r *http.Request) {
	h, t, stored := fe.h, &fe.target, fe.stored
	r2 := r.Clone(fe.ctx)
	if fe.background {
		fe.impersonal(r2.Header)
	}
	fe.req = rfc9111.Request{Method: http.MethodGet, Header: r2.Header.Clone(), Directives: rfc9111.ParseRequest(r2.Header)}
	fe.flight.leader = fe.req.Header
	r2.Method = http.MethodGet
	r2.Body, r2.GetBody, r2.ContentLength, r2.TransferEncoding = http.NoBody, nil, 0, nil
	r2.Host = t.host
	if q := h.keyer.query; q != nil && !q.forwardIgnored {
		r2.URL.RawQuery, r2.URL.ForceQuery = t.query, false
		r2.RequestURI = q.original(*r).RequestURI
	}
	h.scrub(r2.Header, trusted(r))
	for _, name := range conditionals {
		delete(r2.Header, name)
	}
	if stored != nil {
		etag, modified := stored.ETag(), stored.LastModified()
		if etag != "" {
			r2.Header["If-None-Match"] = []string{etag}
		}
		if modified != "" {
			r2.Header["If-Modified-Since"] = []string{modified}
		}
		fe.conditional = etag != "" || modified != ""
	}
	fe.request = detach(r2, r, fe, h.keyer.query, fe.front)
	if fe.background {
		reqinfo.From(fe.request).Set(reqinfo.Background, "edge_cache")
	}
	fe.flight.request = fe.request
}

// impersonal takes from the header of a background refresh what is the wish or the
// property of the client that happened to come: its cache directives, and its
// credentials, unless the stored response came in answer to such or they select
// it. It is refreshed for all, and otherwise one client could keep it from that.
func (fe *fetch) impersonal(hd http.Header) {
	var flags rfc9111.Flags
	if fe.stored != nil { // else it has been purged a moment ago
		flags = fe.stored.Freshness().Flags
	}
	for name, made := range map[string]bool{
		"Cache-Control": false, "Pragma": false,
		"Cookie": flags.Has(rfc9111.FlagCookie), "Authorization": flags.Has(rfc9111.FlagAuthorization),
	} {
		if !made && !slices.Contains(fe.names, name) && !slices.Contains(fe.h.Key.Headers, name) {
			delete(hd, name)
		}
	}
}

// run does the fetch; it is the flight's own goroutine.
func (fe *fetch) run(next caddyhttp.Handler) {
	ctx, end := startSpan(fe.request.Context(), fe.h.name)
	if ctx != fe.request.Context() {
		*fe.request = *fe.request.WithContext(ctx)
	}
	err := fe.call(next)
	if cause := context.Cause(fe.request.Context()); errors.Is(cause, errFetchTimeout) {
		err = caddyhttp.HandlerError{StatusCode: http.StatusGatewayTimeout, Err: cause}
	}
	end(err)
	fe.end(err)
}

// end brings the flight to its end and stores what was fetched.
func (fe *fetch) end(err error) {
	f := fe.flight
	defer fe.h.shared.purges.End(f.seq)
	if err == nil && !fe.wrote {
		fe.empty = true
		fe.WriteHeader(http.StatusOK)
	}
	if err == nil && fe.verdict.length >= 0 && fe.n != fe.verdict.length && !fe.discard {
		err = errTruncated
	}
	if err != nil {
		fe.fail(err)
	}
	if err == nil && fe.verdict.store && !fe.discard {
		fe.commit() // first: whoever no longer finds the flight finds the object
	}
	fe.h.flights.closeJoin(f, fe.primary, fe.key)
	f.spool.discharge()
	f.finish(err, trailers(fe.header))
	fe.h.flights.ended(f)
}

// call runs the next handlers and turns their panics into errors.
func (fe *fetch) call(next caddyhttp.Handler) (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			err = errTruncated
		default:
			fe.h.logger.Error("panic while fetching", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			err = caddyhttp.HandlerError{StatusCode: http.StatusInternalServerError, Err: fmt.Errorf("panic: %v", p)}
		}
	}()
	return next.ServeHTTP(fe, fe.request)
}

// fail publishes a failure that came before the header, or a stale response in
// its place.
func (fe *fetch) fail(err error) {
	code := codeOf(err)
	if errors.Is(err, errTruncated) {
		err = caddyhttp.HandlerError{StatusCode: http.StatusBadGateway, Err: err}
	}
	if fe.stale(code) {
		fe.publishStale(code)
		return
	}
	if !fe.wrote && !forEverybody(err) && !fe.turnedAway() {
		until := time.Now().Add(markError)
		fe.h.marks.set([]byte(fe.primary), until)
		fe.h.marks.set([]byte(fe.key), until)
	}
	// Others may have a stale response where this client wanted none.
	shared := forEverybody(err) && !fe.staleForAll(code)
	fe.h.flights.closeJoin(fe.flight, fe.primary, fe.key)
	fe.flight.publish(&answer{err: err, shared: shared, header: fe.aboutFailure()})
}

// aboutFailure returns the fields that say what to make of a failure, which error
// routes keep.
func (fe *fetch) aboutFailure() http.Header {
	about := make(http.Header)
	if fe.wrote {
		return about
	}
	for _, name := range []string{"Retry-After", "Cache-Control"} {
		if values := fe.header[name]; len(values) > 0 {
			about[name] = slices.Clone(values)
		}
	}
	return about
}

// codeOf returns the status that stands for a failure of the next handlers, 0
// without one.
func codeOf(err error) int {
	he, _ := errors.AsType[caddyhttp.HandlerError](err)
	return he.StatusCode
}

// turnedAway reports whether a handler behind this one refused the request, so
// that the answer says nothing about the next one for the same page.
func (fe *fetch) turnedAway() bool {
	if fe.request == nil {
		return false // it came to nothing before
	}
	_, ok := reqinfo.Peek(fe.request).Get(reqinfo.Refused)
	return ok
}

// forEverybody reports whether a failure has nothing to do with what this very
// client sent: the origin could not be reached, or did not answer in time. Any
// other may be provoked by a request that the origin chokes on, and must not
// become the answer to those who only ask for the same page.
func forEverybody(err error) bool {
	_, dial := errors.AsType[reverseproxy.DialError](err)
	return dial || errors.Is(err, errFetchTimeout)
}

// stale reports whether the stored response may stand in for a failure, for the
// client that the fetch is for.
func (fe *fetch) stale(code int) bool {
	return standsIn(fe.policy, &fe.req, fe.stored, code, time.Now())
}

// staleForAll reports whether it may for clients that ask for nothing special.
func (fe *fetch) staleForAll(code int) bool {
	plain := &rfc9111.Request{Method: http.MethodGet, Directives: rfc9111.NoDirectives()}
	return standsIn(fe.policy, plain, fe.stored, code, time.Now())
}

// standsIn reports whether a stored response may be served in place of a failure.
func standsIn(policy *rfc9111.Options, req *rfc9111.Request, o *object.Object, code int, now time.Time) bool {
	if o == nil {
		return false
	}
	fr := freshnessOf(o)
	return policy.StaleOnError(req, &fr, code, now)
}

// publishStale answers with the stored response. What only this client's own
// directives allow is for this client alone (RFC 5861 section 4).
func (fe *fetch) publishStale(code int) {
	shared := fe.staleForAll(code)
	if !shared {
		fe.h.flights.closeJoin(fe.flight, fe.primary, fe.key)
	}
	fe.flight.publish(&answer{object: fe.stored, shared: shared, stale: true, forward: code})
}

// freshnessOf returns the freshness of a stored response; the lifetime of one that
// was softly purged ended then.
func freshnessOf(o *object.Object) rfc9111.Freshness {
	fr := o.Freshness()
	if since, ok := o.StaleSince(); ok {
		fr.Lifetime = min(fr.Lifetime, max(int64(fr.Age(since)/time.Millisecond)-1, 0))
	}
	return fr
}
