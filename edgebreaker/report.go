package edgebreaker

import (
	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

// Events, emitted when a backend changes its state.
const (
	eventOpened   = "edge_breaker_opened"    // data: backend, reason, open_for
	eventHalfOpen = "edge_breaker_half_open" // data: backend, reason, open_for
	eventClosed   = "edge_breaker_closed"    // data: backend, reason, open_for
)

var events = [...]string{breaker.Closed: eventClosed, breaker.Open: eventOpened, breaker.HalfOpen: eventHalfOpen}

// report tells of a change of state, and counts it. A change of the mode alone is
// none. The caller holds no lock.
func report(c breaker.Change, in *counters) {
	if !c.Changed() || c.From == c.To {
		return
	}
	address, reason, open := c.Backend.Address(), c.Reason.String(), c.OpenFor.Seconds()
	if in != nil {
		in.transitions[c.To].Inc()
	}
	// The backend outlives the loggers of configs.
	log := caddy.Log().Named("http.handlers." + directive)
	level := log.Info
	if c.To == breaker.Open {
		level = log.Warn
	}
	level("backend "+c.To.String(), zap.String("backend", address), zap.String("from", c.From.String()), zap.String("reason", reason),
		zap.Float64("open_for", open), zap.Int("failures", c.Failures), zap.Float64("ratio", c.Ratio))
	edgeapp.Emit(events[c.To], map[string]any{"backend": address, "reason": reason, "open_for": open})
}

// log tells the access log which backends were tried.
func (rec *record) log() {
	if rec.tries.n == 0 {
		return
	}
	if reqinfo.Logged(rec.base) {
		reqinfo.Log(rec.base, directive, rec.tries.String())
	}
}
