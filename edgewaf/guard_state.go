package edgewaf

import (
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddyedge/caddy-edge/edgewaf/notice"
	"github.com/caddyedge/caddy-edge/internal/poolref"
)

// guards holds the state of guards by name, over every configuration.
var guards = poolref.New[*guardState]()

// guardState is what outlives configurations: what an operator set, what was counted,
// and who was told of lately.
type guardState struct {
	name    string
	notices notice.Table
	running atomic.Pointer[Guard] // of the running config
	counts  [checks][actions]atomic.Uint64

	mu        sync.Mutex // guards the replacing of overrides
	overrides atomic.Pointer[[checks]*override]
}

// override is a mode that an operator set at run time. It holds while the config has the
// mode that it was set over: one with another mode does as it says, and ends the override
// once it has taken the place of the one before.
type override struct{ mode, over level }

func newGuardState(name string) func() (*guardState, error) {
	return func() (*guardState, error) { return &guardState{name: name}, nil }
}

// Destruct implements caddy.Destructor. There is nothing to stop.
func (*guardState) Destruct() error { return nil }

// count counts what was done about a request.
func (s *guardState) count(c check, a action) {
	s.counts[c][a].Add(1)
	guardCounters()[c][a].Inc()
}

// override sets a mode over the one that the config has, or takes it back when set is
// nil.
func (s *guardState) override(c check, set *override) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := new([checks]*override)
	if before := s.overrides.Load(); before != nil {
		*next = *before
	}
	next[c] = set
	if *next == ([checks]*override{}) {
		next = nil
	}
	s.overrides.Store(next)
}

// leave is called when a config is gone that had the guard: one whose place another has
// taken, or one that was rejected and left the one before it running.
func (s *guardState) leave() {
	running, set := s.running.Load(), s.overrides.Load()
	if running == nil || set == nil {
		return
	}
	for c, o := range set {
		if o != nil && o.over != running.levels[c] {
			s.override(check(c), nil)
		}
	}
}

// effective is the mode that an operator set at run time, or else the config's.
func (g *Guard) effective(c check) level {
	if set := g.state.overrides.Load(); set != nil && set[c] != nil && set[c].over == g.levels[c] {
		return set[c].mode
	}
	return g.levels[c]
}

var _ caddy.Destructor = (*guardState)(nil)
