package edgebreaker

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

// refusal is why nobody can be asked, and when it may be different.
type refusal struct {
	reason reason
	retry  time.Duration
}

type reason uint8

const (
	reasonNone        reason = iota
	reasonOpen               // all backends are open
	reasonConcurrency        // all backends have as many requests as they may
	reasonUnavailable        // health checks, or max_requests, leave none
	reasonDenied             // the addresses are not allowed

	reasons = iota
)

var reasonNames = [reasons]string{"", "open", "concurrency", "unavailable", "denied"}

// String returns the name for logs, metrics and placeholders.
func (r reason) String() string { return reasonNames[r] }

// refusedBy is the refusal by a backend.
func refusedBy(b *breaker.Backend, now time.Time) refusal {
	retry, ok := b.NextProbe(now)
	if !ok {
		retry = forcedRetry
	}
	return refusal{reasonOpen, retry}
}

// forcedRetry is the time until the next try while an operator holds a backend
// open.
const forcedRetry = 30 * time.Second

var errUnavailable = errors.New("backend unavailable")

// refusalNotice is the least time between two log lines about refusals.
const refusalNotice = 10 * time.Second

// failed answers a request that the proxy gave up, where there is something better
// to say than the proxy's error.
func (h *Handler) failed(w http.ResponseWriter, r *http.Request, rec *record, err error) error {
	switch {
	case rec.unreachable():
		return h.refuse(w, r, rec, refusedBy(rec.tries.last().backend, time.Now()))
	case rec.ended != goesOn:
		t := rec.tries.last()
		return caddyhttp.Error(t.clientStatus(), errors.New("the request failed, and was not sent again: "+rec.ended.String()))
	case rec.refused.reason == reasonNone:
		return err
	}
	if rec.refused.reason == reasonUnavailable && rec.tries.n > 0 {
		return err // that of the last attempt
	}
	return h.refuse(w, r, rec, rec.refused)
}

// tellRefusal counts and logs one.
func (h *Handler) tellRefusal(r *http.Request, refused refusal, retry int64) {
	collectors().refused[refused.reason].Inc()
	reqinfo.Log(r.Context(), "edge_breaker_refused", refused.reason.String())
	if now, last := time.Now().UnixNano(), h.notice.Load(); now-last >= int64(refusalNotice) && h.notice.CompareAndSwap(last, now) {
		h.logger.Warn("no backend to ask", zap.String("name", h.Name), zap.String("reason", refused.reason.String()), zap.Int64("retry_after", retry))
	}
}

// refuse answers a request for which no backend can be asked.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, rec *record, refused refusal) error {
	retry := max(1, int64((refused.retry+time.Second-1)/time.Second))
	if !clientLeft(rec.base) { // nobody is refused who did not wait for it
		h.tellRefusal(r, refused, retry)
	}
	// A cache must not take it for the origin's word. It has made the record: to make
	// one here would be a write that connection attempts may race with.
	if info := reqinfo.Peek(r); info != nil {
		info.Set(reqinfo.Refused, directive)
	}
	if rec.repl != nil {
		rec.repl.Set("http.edge_breaker.reason", refused.reason.String())
		rec.repl.Set("http.edge_breaker.retry_after", retry)
	}
	hd := w.Header()
	if cookies := hd["Set-Cookie"]; len(cookies) > rec.cookies {
		hd["Set-Cookie"] = cookies[:rec.cookies] // a policy around ours has made one for nobody
	}
	hd.Set("Retry-After", strconv.FormatInt(retry, 10))
	hd.Set("Cache-Control", "no-store") // whatever a cache in front makes of errors
	switch {
	case h.fallback != nil:
		return h.fallback.ServeHTTP(w, r)
	case reqinfo.HasErrorRoutes(r):
		return caddyhttp.Error(h.Status, errUnavailable)
	}
	body := `{"error":"` + errUnavailable.Error() + `","retry_after":` + strconv.FormatInt(retry, 10) + "}"
	hd.Set("Content-Type", "application/json")
	hd.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(h.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(body))
	}
	return nil
}
