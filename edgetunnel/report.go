package edgetunnel

import (
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgetunnel/hub"
	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
)

// Events, emitted when an agent comes or goes.
const (
	eventConnected = "edge_tunnel_connected" // data: agent, token, client
	eventLost      = "edge_tunnel_lost"      // data: agent, token, reason
	eventDrained   = "edge_tunnel_drained"   // data: agent, token, reason
)

// hooks tell logs, metrics and events what happens. The hub outlives the loggers of
// configs.
func hooks() hub.Hooks {
	m := collectors()
	log := func() *zap.Logger { return caddy.Log().Named("http.handlers." + directive) }
	return hub.Hooks{
		Denied: func(a *hub.Agent, backend string) {
			log().Warn("an agent has a backend that its token does not allow", zap.String("agent", a.Name), zap.String("token", a.Token), zap.String("backend", backend))
		},
		Connected: func(a *hub.Agent) {
			m.sessions.WithLabelValues(string(eventOfConnection)).Inc()
			log().Info("agent connected", zap.String("agent", a.Name), zap.String("token", a.Token), zap.String("remote", a.Remote), zap.String("version", a.Version))
			edgeapp.Emit(eventConnected, map[string]any{"agent": a.Name, "token": a.Token, "client": a.Remote})
		},
		Left: func(a *hub.Agent, reason hub.Reason, err error) {
			m.sessions.WithLabelValues(string(reason)).Inc()
			level, event := log().Warn, eventLost
			if reason == hub.Drained || reason == hub.Replaced {
				level, event, err = log().Info, eventDrained, nil // the connection had to end
			}
			level("agent left", zap.String("agent", a.Name), zap.String("token", a.Token), zap.String("reason", string(reason)), zap.Error(err),
				zap.Duration("after", time.Since(a.Since)), zap.Int64("requests", a.Requests()), zap.Int64("broken_off", a.Active()))
			edgeapp.Emit(event, map[string]any{"agent": a.Name, "token": a.Token, "reason": string(reason)})
		},
		Answered: func(backend string, status int) { m.responses.WithLabelValues(m.label(backend), classOf(status)).Inc() },
		NotTaken: func(backend string, status wire.Status) {
			m.notTaken.WithLabelValues(m.label(backend), status.String()).Inc()
		},
		Failed: func(backend string, err error) { m.failures.WithLabelValues(m.label(backend), failureOf(err)).Inc() },
	}
}
