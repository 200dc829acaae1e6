package edgecache

import (
	"errors"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/edgecache/object"
	"github.com/caddyedge/caddy-edge/edgecache/purge"
	"github.com/caddyedge/caddy-edge/edgecache/rfc9111"
	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

// exchange is one request that the store alone could not answer.
type exchange struct {
	h       *Handler
	w       http.ResponseWriter
	r       *http.Request
	next    caddyhttp.Handler
	policy  *rfc9111.Options
	req     rfc9111.Request
	target  target
	primary string
	class   string // kind of credentials that the request has, "" without
	asked   bool   // the client's own directives want the origin
	reuse   reason // why what is stored does not answer it
	front   *front // set with the first fetch for this request

	// As of the last look into the store.
	key    string
	names  []string
	stored *object.Object
}

// maxAttempts is how often a request that waited in vain looks again before it
// fetches for itself. With credentials it is likely that the next wait is in vain
// as well.
const (
	maxAttempts         = 3
	maxPersonalAttempts = 2
)

// find looks again, after a wait.
func (x *exchange) find() bool {
	f := x.h.find([]byte(x.primary), x.r.Header)
	x.key, x.names, x.stored = string(f.key), f.names, f.object
	return f.ok
}

// run answers the request: from the flight of its key, or by a fetch of its own.
func (x *exchange) run() error {
	h := x.h
	for attempt := 0; ; attempt++ {
		now := time.Now()
		if attempt > 0 {
			if !x.find() {
				return h.pass(x.w, x.r, x.next, reasonKey)
			}
			x.reuse = noReason
			if x.stored != nil {
				fr := freshnessOf(x.stored)
				d := x.policy.Reuse(&x.req, &fr, now)
				x.reuse = reason(d.Reason)
				if d.Action != rfc9111.Revalidate {
					return h.serveObject(x.w, x.r, x.stored, status{result: hitOrStale(&fr, now), reuse: x.reuse, collapsed: true, front: x.front}, now)
				}
			}
		}
		alone := h.Collapse.Off || x.noStore() || attempt >= maxAttempts || h.marks.has([]byte(x.key), now) ||
			x.class != "" && (attempt >= maxPersonalAttempts || h.marks.has([]byte(x.key+x.class), now))
		if alone && x.stored == nil {
			return x.direct()
		}
		done, err := x.fly(alone)
		if done {
			return err
		}
	}
}

// noStore reports whether the client's no-store has to be obeyed: such a request
// can't lead a flight.
func (x *exchange) noStore() bool {
	return x.req.Directives.NoStore && x.policy.ClientControl != rfc9111.Ignore
}

// hitOrStale names what serving a stored response is.
func hitOrStale(fr *rfc9111.Freshness, now time.Time) Result {
	if fr.FreshFor(now) < 0 {
		return ResultStale
	}
	return ResultHit
}

// forward returns why the request goes to the origin.
func (x *exchange) forward() string {
	switch {
	case x.asked:
		return forwardRequest
	case x.stored != nil:
		return forwardStale
	case x.names != nil:
		return forwardVary
	}
	return forwardMiss
}

// fly joins the flight of the key or starts one; alone starts a private one.
// done is false when the answer is of no use to this request.
func (x *exchange) fly(alone bool) (done bool, err error) {
	h := x.h
	var (
		fe     *fetch
		reader *spoolReader
	)
	now := time.Now()
	enter := func(f *flight) (ok bool) {
		if !h.current(f, x.key) {
			return false
		}
		reader, ok = f.enter(h.maxWaiters, now)
		return ok
	}
	start := func() *flight {
		if o := h.shared.lookup(x.key); !alone && o != nil && o != x.stored {
			return nil // a flight has ended since the look into the store
		}
		fe = h.newFetch(x.r, x.policy, x.target, x.primary, x.key, x.names, x.stored)
		reader, _ = fe.flight.enter(1, now)
		return fe.flight
	}
	key := x.key
	if alone {
		key = ""
	}
	f, leads := h.flights.joinOrStart(key, enter, start)
	if f == nil {
		return false, nil
	}
	exited := false
	exit := func() {
		if !exited {
			exited = true
			f.exit(reader)
		}
	}
	defer exit()
	if leads {
		if alone {
			f.attach()
		}
		if x.front == nil {
			x.front = newFront(x.r)
		}
		fe.front = x.front
		fe.start(x.r, x.next)
	}

	var timeout <-chan time.Time
	if !leads {
		timer := time.NewTimer(h.waitTimeout)
		defer timer.Stop()
		timeout = timer.C
	}
	a, err := f.await(x.r.Context(), x.w, timeout)
	switch {
	case errors.Is(err, errWaitTimeout):
		exit()
		return true, x.direct()
	case err != nil:
		return true, x.left()
	case a.retry && leads:
		// What comes next may change the request, which the fetch reads through
		// the placeholders.
		select {
		case <-f.finished:
			return false, nil
		case <-x.r.Context().Done():
			return true, x.left()
		}
	case a.retry,
		!leads && !a.shared,
		!leads && a.err == nil && !h.current(f, x.key),
		!leads && a.code != 0 && len(a.vary) > 0 && !selects(a.vary, f.leader, x.r.Header):
		return false, nil
	}
	if leads {
		if a.err != nil {
			<-f.finished // it is about to be, and has placeholders for the error page
		}
		defer x.adopt(f)
	}
	return true, x.answer(f, a, reader, leads)
}

// left ends the request of a client that is gone. It is no error: nobody would see
// the page that an error route makes, and the fetch may still read the request that
// such a route changes.
func (x *exchange) left() error {
	x.w.WriteHeader(statusClientGone)
	return nil
}

// statusClientGone is what Caddy logs for a client that did not wait.
const statusClientGone = 499

// current reports whether no purge since its start concerns what a flight
// fetches for a key: a request that came after a purge must not be shown what
// was fetched before it. Tags are known with the answer only.
func (h *Handler) current(f *flight, key string) bool {
	if h.shared.purges.Seq() == f.seq {
		return true
	}
	s := &object.Spec{Key: key, URL: f.url, Seq: f.seq}
	if a, _ := f.state(0); a != nil && a.object != nil {
		return h.shared.purges.Check(a.object) == purge.Live
	} else if a != nil {
		s.Key, s.Tags = a.key, a.tags
	}
	return h.shared.purges.Check(object.New(s, nil)) == purge.Live
}

// answer hands a flight's answer to the client.
func (x *exchange) answer(f *flight, a *answer, reader *spoolReader, leads bool) error {
	h := x.h
	s := status{forward: x.forward(), reuse: x.reuse, reason: a.reason, collapsed: !leads, front: x.front}
	switch {
	case a.err != nil:
		addHeader(x.w.Header(), a.header)
		s.result = ResultError
		h.reportOther(x.w, x.r, s)
		return a.err
	case a.object != nil:
		s.fwdStatus = a.forward
		s.result = ResultRevalidated
		if a.stale {
			s.result, s.reason = ResultStale, reasonStandIn
		}
		return h.serveObject(x.w, x.r, a.object, s, time.Now())
	}
	s.result = ResultMiss
	if a.stored {
		s.result, s.hasTTL, s.ttl = ResultStore, true, a.fresh.TTL(time.Now())
		if x.stored != nil {
			s.result = ResultExpired
		}
	}
	return x.stream(f, a, reader, s, leads)
}

// stream sends a response while it arrives.
func (x *exchange) stream(f *flight, a *answer, reader *spoolReader, s status, leads bool) error {
	w, r := x.w, x.r
	hd := w.Header()
	fields := a.header
	if !leads {
		fields = a.common
	}
	addHeader(hd, fields)
	if !leads {
		// The origin may be a cache, and this reader may have come late.
		if age := a.fresh.Age(time.Now()); age >= time.Second {
			hd["Age"] = []string{strconv.FormatInt(int64(age/time.Second), 10)}
		}
	}
	x.h.reportOther(w, r, s)
	code := a.code
	if code == http.StatusOK {
		if c := rfc9111.Precondition(r.Header, fields, true); c == http.StatusNotModified {
			writeNotModified(w)
			return nil
		} else if c == http.StatusPreconditionFailed {
			return writeFailed(w)
		}
		// What is not kept can be read in one direction only.
		if a.length > 0 && asksRange(r.Header) && (a.stored || !strings.Contains(r.Header.Get("Range"), ",")) {
			seeker := &spoolSeeker{ctx: r.Context(), spool: f.spool, reader: reader, length: a.length}
			serveRange(w, r, seeker)
			if seeker.err != nil {
				x.broken()
			}
			return nil
		}
	}
	if a.length >= 0 && bodyAllowed(code) {
		hd["Content-Length"] = []string{strconv.FormatInt(a.length, 10)}
	}
	settle := func() {}
	if a.stored {
		settle = f.settle
	}
	if a.length == 0 {
		settle()
	}
	w.WriteHeader(code)
	if err := f.spool.copyTo(r.Context(), w, reader, a.length, settle); err == nil {
		x.trail(f)
	} else {
		x.broken()
	}
	return nil
}

// trail sends the trailer fields of a finished response.
func (x *exchange) trail(f *flight) {
	<-f.finished
	if len(f.trailer) > 0 {
		// Without it, net/http gives a short body a length, and no trailers.
		_ = http.NewResponseController(x.w).Flush()
		maps.Copy(x.w.Header(), f.trailer)
	}
}

// broken ends a response that can't be completed. The client must be able to
// tell: the connection or stream is aborted.
func (x *exchange) broken() {
	if x.r.Context().Err() == nil { // else the client left by itself
		panic(http.ErrAbortHandler)
	}
}

// adopt copies what the next handlers published about a finished fetch to the
// request that led it: placeholders of the proxy, records of other features and
// named variables.
func (x *exchange) adopt(f *flight) {
	select {
	case <-f.finished:
	default:
		return // the fetch goes on without this client
	}
	x.front.fetch.Store(f.request.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer))
	if info := reqinfo.Peek(f.request); info != nil {
		info.CopyTo(reqinfo.From(x.r))
		info.Log(x.r.Context())
	}
	mine, _ := x.r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	theirs, _ := f.request.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	for name, value := range theirs {
		if _, bound := value.(reqinfo.Bound); bound || mine == nil {
			continue
		}
		if _, ok := mine[name]; !ok {
			mine[name] = value
		}
	}
}

// refresh validates a stale response in the background, once for all who are
// served it. It returns what takes the placeholders of r when that is read by a
// fetch now.
func (h *Handler) refresh(r *http.Request, next caddyhttp.Handler, policy *rfc9111.Options, t target, primary string, f found) *front {
	if h.flights.orphans.Load() >= maxOrphans {
		return nil
	}
	h.normalize(r.Header)
	key := string(f.key)
	var fe *fetch
	fl, leads := h.flights.joinOrStart(key, func(f *flight) bool { return h.current(f, key) }, func() *flight {
		fe = h.newFetch(r, policy, t, primary, key, f.names, f.object)
		fe.background = true
		return fe.flight
	})
	if !leads {
		return nil
	}
	fl.mu.Lock()
	fl.setOrphanLocked(true)
	fl.mu.Unlock()
	fe.front = newFront(r)
	fe.start(r, next)
	return fe.front
}
