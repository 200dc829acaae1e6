package edgelimit

import (
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgelimit/adaptive"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/poolref"
)

// controls holds the limits of edge_adaptive by mode and name, over every
// configuration.
var controls = poolref.New[*control]()

// control is one adaptive limit: a limiter, or in mode rate a loop.
type control struct {
	name    string
	limiter *adaptive.Limiter
	loop    *adaptive.RateLoop

	admittedByRate, refusedByRate atomic.Uint64
	notice                        atomic.Int64 // when a refusal was last logged
}

// eventState is emitted when an adaptive limit changes its state.
const eventState = "edge_adaptive_state" // data: name, from, to, limit, p95_ms

func newControl(a *Adaptive) (*control, error) {
	c := &control{name: a.Name}
	var err error
	if a.Mode == ModeRate {
		c.loop, err = adaptive.NewRateLoop(a.rateConfig(c), time.Now())
	} else {
		c.limiter, err = adaptive.New(a.config(c), time.Now())
	}
	return c, err
}

// configure applies the options of a config that goes live, and keeps what was
// learned.
func (c *control) configure(a *Adaptive) error {
	if c.loop != nil {
		return c.loop.Reconfigure(time.Now(), a.rateConfig(c))
	}
	return c.limiter.Reconfigure(time.Now(), a.config(c))
}

// Destruct implements caddy.Destructor. There is nothing to stop.
func (*control) Destruct() error { return nil }

// announce tells of a change of state.
func (c *control) announce(from, to string, limit int, p95 time.Duration) {
	// The limit outlives the loggers of configs.
	caddy.Log().Named("http.handlers.edge_adaptive").Info("adaptive limit", zap.String("name", c.name),
		zap.String("from", from), zap.String("to", to), zap.Int("limit", limit), zap.Float64("p95_ms", float64(p95)/float64(time.Millisecond)))
	edgeapp.Emit(eventState, map[string]any{
		"name": c.name, "from": from, "to": to, "limit": limit, "p95_ms": float64(p95) / float64(time.Millisecond),
	})
}

var _ caddy.Destructor = (*control)(nil)
