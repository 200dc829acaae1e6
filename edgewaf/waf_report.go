package edgewaf

import (
	"hash/maphash"
	"time"

	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgewaf/audit"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

// eventWaf is emitted when a rule begins to block, or in shadow mode would block, the
// requests of a client.
const eventWaf = "edge_waf_blocked" // data: firewall, rule_id, action, phase, client, request_id

// Phases of events.
const (
	phaseRequest  = "request"
	phaseResponse = "response"
)

// action is what was done, in one word.
func (i *inspection) action() string {
	switch {
	case i.blocked:
		return actBlock
	case i.limited:
		return actLimit
	case i.would:
		return actShadow
	case i.allowed:
		return actAllow
	}
	return actLog
}

// report tells of what the rules found in a phase: to the metrics, the access log, the
// log, the admin API, and to who listens to events.
func (i *inspection) report(phase string) {
	e := &i.event
	if len(e.Findings) == 0 {
		return
	}
	now := time.Now()
	e.Time, e.Firewall, e.RequestID, e.Phase, e.Action = now, i.f.Name, i.id, phase, i.action()
	e.Method, e.Host, e.Path = audit.Clean(i.r.Method, audit.MaxName), audit.Clean(i.r.Host, audit.MaxName), audit.Clean(i.r.URL.Path, audit.MaxName)
	if i.client.IsValid() {
		e.Client = i.client.String()
	}
	for n := range e.Findings {
		i.f.state.metrics.decisions.WithLabelValues(e.Findings[n].Rule, e.Action).Inc()
	}
	if !i.found {
		return
	}
	if !i.blocked {
		e.Status = 0
	}
	i.f.state.keep(e)
	reqinfo.Log(i.r.Context(), "edge_waf", e.Action)
	reqinfo.Log(i.r.Context(), "edge_waf_rule", e.Rule)
	i.write(now)
	if i.blocked || i.would {
		i.notify(now)
	}
}

// write writes the line of an event.
func (i *inspection) write(now time.Time) {
	text := "a rule found something"
	level := zap.InfoLevel
	switch {
	case i.blocked:
		text, level = "blocked a request", zap.WarnLevel
		if i.event.Phase == phaseResponse {
			text = "blocked a response"
		}
	case i.limited:
		text = "limited a request"
	case i.would:
		text = "would have blocked a request"
		if i.event.Phase == phaseResponse {
			text = "would have blocked a response"
		}
	}
	if entry := i.f.logger.Check(level, text); entry != nil && i.f.state.mayLog(i.f.LogRate, now) {
		entry.Write(zap.Reflect("waf", &i.event))
	}
}

// trouble logs what is wrong with the firewall itself. Requests can bring it about, so its
// lines count as those of events.
func (i *inspection) trouble(text string, fields ...zap.Field) {
	if i.f.state.mayLog(i.f.LogRate, time.Now()) {
		i.f.logger.Error(text, fields...)
	}
}

// notify emits the event of a client and a rule, unless there was one not long ago.
func (i *inspection) notify(now time.Time) {
	e := &i.event
	key := maphash.Comparable(seed, blockedBy{e.Client, e.Rule, e.Action})
	if !i.f.state.notices.Allow(key, time.Duration(i.f.Notice), now) {
		return
	}
	edgeapp.Emit(eventWaf, map[string]any{
		"firewall": e.Firewall, "rule_id": e.Rule, "action": e.Action, "phase": e.Phase, "client": e.Client, "request_id": e.RequestID,
	})
}

// blockedBy is what is told once per interval.
type blockedBy struct{ client, rule, action string }

// count counts what became of the request.
func (i *inspection) count() {
	o := outcomePassed
	switch {
	case i.failure != outcomePassed:
		o = i.failure
	case i.blocked:
		o = outcomeBlocked
	case i.limited:
		o = outcomeLimited
	case i.would:
		o = outcomeShadow
	case i.allowed:
		o = outcomeAllowed
	case i.found:
		o = outcomeLogged
	}
	i.f.state.outcome(o)
}
