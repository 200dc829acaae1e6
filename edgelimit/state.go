package edgelimit

import (
	"sync"
	"sync/atomic"
	"time"

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

// tables are the memory of one zone's limit. Another algorithm, size or length of
// the window needs others; another rate does not.
type tables struct {
	window time.Duration // of sliding windows; 0: the rates are none
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

// prepare returns tables for windows of a length, 0 for rates, and a size: those in
// use if they fit.
func (s *state) prepare(window time.Duration, slots int) *tables {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range []*tables{s.current, s.next} {
		if t != nil && t.window == window && t.slots == slots {
			return t
		}
	}
	s.next = &tables{window: window, slots: slots, rates: gcra.New(slots)}
	if s.current.continues(s.next) {
		s.next.penalties = s.current.penalties
	} else {
		s.next.penalties = gcra.NewPenalties(max(slots/8, minKeys))
	}
	return s.next
}

// continues reports whether other tables differ in nothing but the length of the
// window.
func (t *tables) continues(other *tables) bool {
	return t != nil && t.slots == other.slots && t.window > 0 && other.window > 0 && t.window != other.window
}

// start makes a zone's tables the ones that later configurations continue.
func (s *state) start(z *Zone) {
	s.mu.Lock()
	if s.current.continues(z.tables) {
		z.tables.adopt(s.current)
	}
	s.current, s.next = z.tables, nil
	s.mu.Unlock()
	s.zone.Store(z)
}

// adopt takes over what clients have used in windows of another length.
func (t *tables) adopt(from *tables) {
	was, err := gcra.Window(1, from.window)
	if err != nil {
		return
	}
	is, err := gcra.Window(1, t.window)
	if err != nil {
		return
	}
	t.rates.Adopt(from.rates, &was, &is, gcra.Now())
}

// leave is called when a config is gone that had the zone: one whose place
// another has taken, or one that was rejected and left the one before it running.
func (s *state) leave() {
	running := s.zone.Load()
	if o := s.override.Load(); o != nil && running != nil && running.Mode != o.over {
		s.override.CompareAndSwap(o, nil)
	}
}

// bytes returns the memory of what is not in tables.
func (s *state) bytes() int { return s.notices.Bytes() + s.lines.Bytes() }

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
