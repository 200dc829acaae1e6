package edgebreaker

import (
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// reinstate notes that a request goes to the backend though it is open, since
// max_ejection lets no more be out. It tells so once, until settled.
func (m *member) reinstate(b *breaker.Backend, log *zap.Logger) {
	m.counters.reinstated.Inc()
	if !m.reinstated.Swap(true) {
		log.Warn("a backend is used though it is open, since max_ejection lets no more be out; its share halves with each failure",
			zap.String("backend", b.Address()))
	}
}

// settled notes that the backend may be asked in its own right.
func (m *member) settled() {
	if m.reinstated.Load() {
		m.reinstated.Store(false)
	}
}

// unreachable reports whether the request ended at a backend that was open, and could
// not even be reached: nobody worked on it, so it is refused like one for which there
// is no backend.
func (rec *record) unreachable() bool {
	if !rec.restored || rec.tries.n == 0 {
		return false
	}
	f := rec.tries.last().failure
	return f == failureDial || f == failureTLS
}
