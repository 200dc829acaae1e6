package edgelimit

import (
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddyedge/caddy-edge/edgelimit/gcra"
	"github.com/caddyedge/caddy-edge/edgelimit/inflight"
	"github.com/caddyedge/caddy-edge/edgelimit/topk"
	"github.com/caddyedge/caddy-edge/internal/poolref"
)

// pool holds the state of the zones by name, over every configuration.
var pool = poolref.New[*state]()

// state is what a zone knows of its clients. It outlives configurations.
type state struct {
	name     string
	inflight *inflight.Map
	top      *topk.Sketch
	notices  *gcra.Table              // who was reported lately
	lines    *gcra.Table              // how much was reported lately
	override atomic.Pointer[override] // nil follows the config
	zone     atomic.Pointer[Zone]     // of the running config

	mu      sync.Mutex
	current *tables // of the running config
	next    *tables // of one that is being loaded
}

// override is a mode that an operator set at run time. It holds while the config
// has the mode that it was set over: one with another mode does as it says, and
// ends the override once it has taken the place of the one before.
type override struct{ mode, over Mode }

// tables are the memory of one zone's limit. Another algorithm or size needs
// others; another rate does not.
type tables struct {
	window bool // the rates are sliding windows
	slots  int
	rates  *gcra.Table
	// penalties are the clients that stay refused for a while.
	penalties *gcra.Penalties
}

const (
	topKeys     = 128
	noticeSlots = 4096
)

func newState(name string) func() (*state, error) {
	return func() (*state, error) {
		return &state{name: name, inflight: inflight.New(), top: topk.New(topKeys), notices: gcra.New(noticeSlots), lines: gcra.New(1)}, nil
	}
}

// Destruct implements caddy.Destructor. There is nothing to stop.
func (*state) Destruct() error { return nil }

// prepare returns tables of an algorithm and a size: those in use if they fit.
func (s *state) prepare(window bool, slots int) *tables {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range []*tables{s.current, s.next} {
		if t != nil && t.window == window && t.slots == slots {
			return t
		}
	}
	s.next = &tables{window: window, slots: slots, rates: gcra.New(slots), penalties: gcra.NewPenalties(max(slots/8, minKeys))}
	return s.next
}

// start makes a zone's tables the ones that later configurations continue.
func (s *state) start(z *Zone) {
	s.mu.Lock()
	s.current, s.next = z.tables, nil
	s.mu.Unlock()
	s.zone.Store(z)
}

// leave is called when a config is gone that had the zone: one whose place
// another has taken, or one that was rejected and left the one before it running.
func (s *state) leave() {
	running := s.zone.Load()
	if o := s.override.Load(); o != nil && running != nil && running.Mode != o.over {
		s.override.CompareAndSwap(o, nil)
	}
}

// table returns the table in use, nil before the first start.
func (s *state) table() *gcra.Table {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return nil
	}
	return s.current.rates
}

var _ caddy.Destructor = (*state)(nil)
