package edgebreaker

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// enterRoute begins an attempt of the route as a whole.
func (rec *record) enterRoute(r *http.Request) refusal {
	h, now := rec.handler, time.Now()
	b := h.registry.Value().Get(routeAddress(h.Name))
	counters := countersOf(b.Address())
	slot, ok := h.takeSlot(r.Context(), b)
	if !ok {
		return refusal{reasonConcurrency, time.Second}
	}
	attempt, change, ok := b.Enter(now, &h.rules)
	report(change, counters)
	if !ok {
		slot.release()
		return refusedBy(b, now)
	}
	rec.route, rec.slot, rec.proxied = true, slot, rec.placeholder(proxyDuration)
	rec.limit = rec.limited(r, false)
	rec.begin(time.Now(), attempt, try{backend: b, counters: counters}, b.Address())
	return refusal{}
}

// routeAddress is the route's name among the backends. No address has a space.
func routeAddress(name string) string { return "route " + name }

// leaveRoute takes the request out of the route's care: who answers is no proxy, or is
// one that asks for its backends.
func (rec *record) leaveRoute(now time.Time) {
	rec.mu.Lock()
	rec.phase = idle
	rec.mu.Unlock()
	rec.slot.release()
	rec.slot, rec.route = nil, false
	report(rec.attempt.End(now, breaker.Ignored), rec.counters)
	rec.tries = tries{}
}

// routeStatus is the status of a response that the error routes, or the server, will
// write.
func routeStatus(err error, panicked bool) (int, bool) {
	if panicked {
		return 0, false
	}
	if err == nil {
		return http.StatusOK, true
	}
	if he, ok := errors.AsType[caddyhttp.HandlerError](err); ok && he.StatusCode != 0 {
		// A proxy's own error is no response.
		own := he.StatusCode == http.StatusBadGateway || he.StatusCode == http.StatusGatewayTimeout
		return he.StatusCode, !own
	}
	return http.StatusInternalServerError, true
}

// proxyRan reports whether a proxy was asked since the route was entered. It tells the
// status when there is a response, and how long it took when it is done.
func (rec *record) proxyRan() bool {
	_, answered := rec.placeholder(proxyStatus).(int)
	return answered || rec.placeholder(proxyDuration) != rec.proxied
}

// with returns r with the deadlines of the attempt.
func with(r *http.Request, ctx context.Context) *http.Request {
	if ctx == nil {
		return r
	}
	return r.WithContext(ctx)
}
