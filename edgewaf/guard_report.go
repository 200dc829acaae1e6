package edgewaf

import (
	"hash/maphash"
	"time"

	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

// eventGuard is emitted when a check begins to find fault with the requests of a client.
const eventGuard = "edge_guard_refused" // data: guard, check, mode, client, request_id

// seed is that of the hashes of clients.
var seed = maphash.MakeSeed()

// level is what a check does now: what an operator set at run time, or else the
// configuration.
func (v *visit) level(c check) level { return v.guard.effective(c) }

// fails counts and reports that a check found fault with the request. It returns whether
// the request must be refused.
func (v *visit) fails(c check) bool {
	switch v.level(c) {
	case levelEnforce:
		v.report(c, checkTable[c].action)
		return true
	case levelShadow:
		v.report(c, actionShadow)
	case levelOff:
	}
	return false
}

// repairs is fails for what is put right, and returns whether it must be.
func (v *visit) repairs(c check) bool { return v.fails(c) }

// report counts what was done about a request, notes it in the access log, and tells of
// the client once in a while.
func (v *visit) report(c check, a action) {
	g := v.guard
	g.state.count(c, a)
	switch a {
	case actionRefused:
		reqinfo.Log(v.r.Context(), "edge_guard", c.String())
	case actionShadow:
		if v.shadow != "" {
			v.shadow += ","
		}
		v.shadow += c.String()
		reqinfo.Log(v.r.Context(), "edge_guard_shadow", v.shadow)
	case actionRepaired:
		reqinfo.Log(v.r.Context(), "edge_guard_repaired", c.String())
	case actionClosed:
	}
	if checkTable[c].status != 0 {
		v.notify(c, v.level(c))
	}
}

// notify writes the log line and emits the event of a client and a check, unless there
// was one not long ago.
func (v *visit) notify(c check, l level) {
	g := v.guard
	key := maphash.Comparable(seed, told{v.address(), c, l})
	if !g.state.notices.Allow(key, time.Duration(g.Notice), time.Now()) {
		return
	}
	client := v.client.String()
	switch {
	case !v.client.IsValid():
		client = ""
	case g.MaskClient:
		client = v.masked()
	}
	g.logger.Warn("request with a fault", zap.String("guard", g.Name), zap.String("check", c.String()), zap.String("mode", l.String()),
		zap.String("client", client), zap.String("request_id", v.id))
	edgeapp.Emit(eventGuard, map[string]any{
		"guard": g.Name, "check": c.String(), "mode": l.String(), "client": client, "request_id": v.id,
	})
}

// told is what is told once per interval.
type told struct {
	client [16]byte
	check  check
	level  level
}
