package edgebreaker

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
	"github.com/caddyedge/caddy-edge/internal/reqinfo"
	"github.com/caddyedge/caddy-edge/internal/upstreamhint"
)

// anchorKey is the anchor's place among the request's variables.
const anchorKey = "edge_breaker.record"

// anchor holds the record of the present edge_breaker. It is put among the
// variables once and stays there, since a connection attempt that nobody waits for
// any more still reads that map.
type anchor struct{ record atomic.Pointer[record] }

// BoundToRequest implements reqinfo.Bound: a cache between the handler and the proxy
// fetches by requests of its own, which may outlive this one.
func (*anchor) BoundToRequest() {}

var _ reqinfo.Bound = (*anchor)(nil)

// record is what travels with a request from the handler to the policy, and what
// they and the wrapped body and writer learn of the attempts on the way.
//
// Most of it belongs to the goroutine of the request. The transport reads the body
// on another one, which only touches atomic fields, and the alarm rings on a third,
// for which there is the lock.
type record struct {
	handler *Handler
	repl    *caddy.Replacer
	own     anchor          // of the first record of a request
	anchor  *anchor         // nil: the request has no variables
	outer   *record         // that of an edge_breaker in front
	base    context.Context // the request's own: it ends when the client leaves

	wrapper caddyhttp.ResponseWriterWrapper
	writer  writer
	body    body
	content io.ReadCloser // the request's body, nil: not wrapped
	// buffered is set when the proxy had the whole body before it asked.
	buffered bool

	proxied  any                       // how long a proxy in front of a guarded route took, if there was one
	proxyCtx context.Context           // with which that proxy began; a deadline may have ended the present one
	proxy    *http.Request             // that of the proxy which asked last
	pool     reverseproxy.UpstreamPool // what that one found, where it looks its upstreams up
	before   int                       // how many tries there were before it
	dialled  string                    // what the proxy was told to dial
	nests    bool                      // the proxy handles responses, maybe by other proxies
	streams  bool                      // its transport has HTTP/2 or 3 without asking
	route    bool                      // the attempt is that of the route as a whole
	tries    tries
	doubts   *doubts         // nil: there are none, as nearly always
	refused  refusal         // what the policy found when nobody could be asked
	ended    ending          // why it ended the retries
	told     bool            // the proxy has told the error of the attempt
	trace    *trace          // of the proxy's connections, if it retries
	slot     *slot           // of the attempt, where the concurrency is limited
	restored bool            // the attempt goes to an open backend, since too many are out
	limit    context.Context // of the route's attempt
	verdict  breaker.Outcome // what the header of the attempt said
	cookies  int             // that were set before
	// clientDeadline is set when the client said how long gRPC may take.
	clientDeadline bool

	mu       sync.Mutex
	attempt  breaker.Attempt
	counters *counters // of its backend
	phase    phase
	began    time.Time // when the policy chose
	header   time.Time // when the header came
	yielded  bool      // the attempt gave the slot of a probe back
	expired  error     // the deadline that passed, as the cause of the cancellation
	late     bool      // it passed before the header, by the backend's fault
	deadline deadline
}

// phase is how far the attempt is.
type phase uint8

const (
	idle      phase = iota // there is none
	waiting                // for the header
	streaming              // the body
	judged                 // it has streamed for long enough to be a success
	closed                 // the handler has returned
)

// newRecord makes a record and attaches it to the request. detach undoes that.
func newRecord(h *Handler, w http.ResponseWriter, r *http.Request) *record {
	rec := &record{handler: h, base: r.Context()}
	rec.repl, _ = rec.base.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if vars, ok := rec.base.Value(caddyhttp.VarsCtxKey).(map[string]any); ok {
		if rec.anchor, ok = vars[anchorKey].(*anchor); !ok {
			rec.anchor = &rec.own
			vars[anchorKey] = rec.anchor
		}
		if rec.outer = rec.anchor.record.Swap(rec); rec.outer != nil && !rec.outer.route {
			// It may be a response of that one's proxy which is handled here. Note
			// its status before another proxy replaces it.
			if status, ok := rec.outer.status(); ok {
				rec.outer.answered(time.Now(), status)
			}
		}
	}
	rec.wrapper.ResponseWriter = w
	rec.writer = writer{ResponseWriterWrapper: &rec.wrapper, rec: rec}
	rec.cookies = len(w.Header()["Set-Cookie"])
	rec.clientDeadline = r.Header["Grpc-Timeout"] != nil
	if r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 {
		rec.content = r.Body
		rec.body.ReadCloser = r.Body
		rec.body.left.Store(r.ContentLength)
		r.Body = &rec.body
	}
	return rec
}

// recordOf returns the record of a request whose handler has not returned yet.
func recordOf(r *http.Request) *record {
	vars, _ := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	if a, ok := vars[anchorKey].(*anchor); ok {
		return a.record.Load()
	}
	return nil
}

// detach takes the record off the request, so that proxies behind, in error routes
// for example, choose without it.
func (rec *record) detach(r *http.Request) {
	if rec.content != nil {
		r.Body = rec.content
	}
	if rec.anchor != nil {
		rec.anchor.record.Store(rec.outer)
	}
}

// Placeholders of Caddy's proxy.
const (
	proxyStatus   = "http.reverse_proxy.status_code"
	proxyLatency  = "http.reverse_proxy.upstream.latency"
	proxyDuration = "http.reverse_proxy.duration"
	proxyAddress  = "http.reverse_proxy.upstream.hostport"

	proxyGRPCStatus = "http.reverse_proxy.header.Grpc-Status"
)

func (rec *record) placeholder(name string) any {
	if rec.repl == nil {
		return nil
	}
	v, _ := rec.repl.Get(name)
	return v
}

// status returns the status of the backend's response, as the proxy noted it since
// the last Select. What the client gets may be another one.
func (rec *record) status() (int, bool) {
	if rec.route {
		return rec.writer.code, rec.writer.code != 0
	}
	n, ok := rec.placeholder(proxyStatus).(int)
	return n, ok && (!rec.nests || !rec.replaced())
}

// replaced reports whether the placeholders are those of another proxy, which
// handles a response of ours and has a policy that knows nothing of us.
func (rec *record) replaced() bool {
	if rec.tries.n == 0 {
		return false
	}
	asked, _ := rec.placeholder(proxyAddress).(string)
	ours := rec.dialled
	return len(asked) > len(ours) || !strings.EqualFold(ours[len(ours)-len(asked):], asked)
}

// begin notes that an attempt begins, and takes the marks of others off. name is the
// backend's address, boxed.
func (rec *record) begin(now time.Time, a breaker.Attempt, t try, name any) {
	rec.tries.add(t)
	if rec.repl != nil {
		rec.repl.Delete(proxyStatus)
		rec.repl.Delete(proxyLatency)
		rec.repl.Set("http.edge_breaker.backend", name)
		rec.repl.Set("http.edge_breaker.state", stateNames[t.backend.State()])
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.attempt, rec.counters, rec.phase, rec.began, rec.expired, rec.late, rec.yielded = a, t.counters, waiting, now, nil, false, false
	rec.arm()
}

// stateNames are the names of the states, boxed once.
var stateNames = [...]any{breaker.Closed.String(), breaker.Open.String(), breaker.HalfOpen.String()}

// answered notes the first final header. It frees the slot of a probe, and a bad
// status counts at once: what other proxies do later changes nothing.
func (rec *record) answered(now time.Time, status int) {
	rec.mu.Lock()
	if rec.phase != waiting {
		rec.mu.Unlock()
		return
	}
	rec.phase, rec.header = streaming, now
	began, late := rec.began, rec.late
	rec.mu.Unlock()

	t := rec.tries.last()
	t.status = int16(min(status, 999)) //nolint:gosec // it fits
	o := rec.judge(status)
	switch {
	case late: // as was told when the deadline passed
		o, t.failure = breaker.Failure, failureTimeout
		t.counters.failed(t.failure)
	case o == breaker.Failure && rec.slowUpload():
		o = breaker.Ignored
	}
	rec.mu.Lock()
	rec.verdict = o
	rec.mu.Unlock()
	t.counters.answered(status)
	latency, timed := rec.latency(now, began)
	if status == http.StatusSwitchingProtocols {
		timed = false
	}
	if timed {
		t.counters.duration.Observe(latency.Seconds())
	} else if o == breaker.Success {
		// The end will tell: there is no latency to speak of.
		o = breaker.Ignored
	}
	report(rec.attempt.Header(now, latency, o), t.counters)
	rec.doubts.end(now, breaker.Failure, breaker.Failure) // this backend took the request
}

// replacedBy notes that the client gets the response of another proxy, which took the
// place of ours and whose policy knows nothing of us. Nobody knows ours any more.
func (rec *record) replacedBy(now time.Time) {
	rec.mu.Lock()
	if rec.phase != waiting {
		rec.mu.Unlock()
		return
	}
	rec.phase, rec.verdict = judged, breaker.Ignored
	rec.mu.Unlock()
	report(rec.attempt.Header(now, 0, breaker.Ignored), rec.counters)
}

// latency is the time from the later of the choice and the end of the request's
// body to the header. It is false when the body has not ended.
func (rec *record) latency(now, began time.Time) (time.Duration, bool) {
	if d, ok := rec.placeholder(proxyLatency).(time.Duration); ok && !rec.route {
		// The proxy's own measure leaves out what it did in between, such as
		// buffering the response.
		if at := began.Add(d); at.Before(now) {
			now = at
		}
	}
	if rec.content == nil {
		return now.Sub(began), true
	}
	ended, ok := rec.body.ended()
	if !ok {
		return max(now.Sub(latest(began, rec.body.touched())), 0), false
	}
	return max(now.Sub(latest(began, ended)), 0), true
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// settle ends what the request leaves open, when the handler returns.
func (rec *record) settle(now time.Time, err error, panicked bool) {
	rec.conclude(now, err, panicked, true)
	if rec.doubts != nil {
		f, stream := rec.tries.last().failure, breaker.Ignored
		if rec.told && f == failureReset {
			stream = breaker.Failure
		}
		rec.doubts.end(now, stream, f.outcome())
	}
	rec.mu.Lock()
	rec.phase = closed
	rec.deadline.end()
	rec.mu.Unlock()
	rec.log()
}

// conclude ends the attempt under way, if there is one: last is false when the
// policy is asked again, and nobody has told the error then.
func (rec *record) conclude(now time.Time, err error, panicked, last bool) {
	if rec.tries.n == 0 {
		return
	}
	rec.mu.Lock()
	was, expired := rec.phase, rec.expired
	if was == idle || was == closed {
		rec.mu.Unlock()
		return
	}
	rec.mu.Unlock()
	rec.told = last
	if was == waiting {
		// A retry for the status, a response that is handled by routes, or a
		// handler that answered with nothing but the default status.
		status, ok := rec.status()
		if !ok && rec.route {
			status, ok = routeStatus(err, panicked)
		}
		if ok && !rec.clientFault() {
			rec.answered(now, status)
			was = streaming
		}
	}
	rec.mu.Lock()
	rec.phase = idle
	rec.mu.Unlock()
	rec.slot.release()
	rec.slot = nil

	t := rec.tries.last()
	switch {
	case was == waiting:
		rec.failed(now, t, err, expired, last)
	case panicked && rec.writer.wrote && !rec.abortedByClient():
		if t.failure == failureNone {
			t.failure = failureReset
			if expired != nil {
				t.failure = failureTimeout
			}
			t.counters.failed(t.failure)
		}
		report(rec.attempt.End(now, breaker.Failure), t.counters)
	case panicked:
		report(rec.attempt.End(now, breaker.Ignored), t.counters)
	default:
		report(rec.attempt.End(now, rec.trailers()), t.counters)
	}
}

// failed ends an attempt that brought no header.
func (rec *record) failed(now time.Time, t *try, err, expired error, last bool) {
	switch {
	case upstreamhint.Passed(rec.base):
		t.failure = failureNone // nobody had got the request
	case rec.late: // whoever left since
		t.failure = failureTimeout
	case rec.clientFault() || rec.excused(expired):
		t.failure = failureClient
	case expired != nil || timedOut(context.Cause(rec.base)):
		t.failure = failureTimeout
	case last:
		t.failure = classify(err)
		if t.failure == failureReset && rec.trace != nil && rec.trace.failure() == failureTLS {
			t.failure = failureTLS // cut off during the handshake
		}
	default:
		t.failure = rec.trace.failure()
	}
	t.counters.failed(t.failure)
	if t.failure == failureTimeout {
		waited, _ := rec.latency(now, rec.began)
		report(rec.attempt.Header(now, waited, breaker.Failure), t.counters)
	}
	o := t.failure.outcome()
	if !last && t.failure == failureReset {
		if rec.doubts == nil {
			rec.doubts = new(doubts)
		}
		if rec.doubts.add(rec.attempt, t.counters, rec.streams || rec.trace.stream()) {
			return
		}
		o = breaker.Ignored
	}
	report(rec.attempt.End(now, o), t.counters)
}
