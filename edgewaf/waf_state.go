package edgewaf

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddyedge/caddy-edge/edgewaf/audit"
	"github.com/caddyedge/caddy-edge/edgewaf/notice"
	"github.com/caddyedge/caddy-edge/internal/poolref"
)

// firewalls holds the state of firewalls by name, over every configuration.
var firewalls = poolref.New[*wafState]()

// wafState is what outlives configurations: the latest events, what was counted, what an
// operator set, and who was told of lately.
type wafState struct {
	name    string
	metrics *firewallMetrics
	notices notice.Table
	running atomic.Pointer[Firewall] // of the running config
	counts  [outcomes]atomic.Uint64
	set     atomic.Pointer[override]

	mu     sync.Mutex // guards what follows
	ring   *audit.Ring
	byRule map[string]*ruleCount

	second  atomic.Int64 // whose log lines are counted
	logged  atomic.Int64
	dropped atomic.Uint64
}

// ruleCount is what a rule did since the firewall was made.
type ruleCount struct {
	Blocked  uint64    `json:"blocked"`
	Shadowed uint64    `json:"shadow"`
	Logged   uint64    `json:"logged"`
	Last     time.Time `json:"last"`
}

func newWafState(name string) func() (*wafState, error) {
	return func() (*wafState, error) {
		return &wafState{name: name, metrics: newFirewallMetrics(name), ring: audit.NewRing(DefaultKeep), byRule: make(map[string]*ruleCount)}, nil
	}
}

// Destruct implements caddy.Destructor.
func (s *wafState) Destruct() error {
	forgetFirewall(s.name)
	return nil
}

// start makes a firewall the running one.
func (s *wafState) start(f *Firewall) {
	s.mu.Lock()
	s.ring = s.ring.Resize(f.Keep)
	s.mu.Unlock()
	s.running.Store(f)
}

// leave is called when a config is gone that had the firewall. What an operator set holds
// as long as the config has the mode that it was set over.
func (s *wafState) leave(*Firewall) {
	running, set := s.running.Load(), s.set.Load()
	if running != nil && set != nil && set.over != running.level {
		s.set.CompareAndSwap(set, nil)
	}
}

// effective is the mode that an operator set at run time, or else the config's.
func (f *Firewall) effective() level {
	if set := f.state.set.Load(); set != nil && set.over == f.level {
		return set.mode
	}
	return f.level
}

// outcome counts what became of a request.
func (s *wafState) outcome(o outcome) {
	s.counts[o].Add(1)
	s.metrics.requests[o].Inc()
}

// keep notes an event for the admin API.
func (s *wafState) keep(e *audit.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ring.Add(*e)
	for i := range e.Findings {
		f := &e.Findings[i]
		c := s.byRule[f.Rule]
		if c == nil { // rules come from configs, so that there is no end of them only with time
			if len(s.byRule) >= maxRuleCounts {
				continue
			}
			c = new(ruleCount)
			s.byRule[f.Rule] = c
		}
		c.Last = e.Time
		switch e.Action {
		case actBlock:
			c.Blocked++
		case actShadow:
			c.Shadowed++
		default:
			c.Logged++
		}
	}
}

// latest returns the latest events that fit, the newest first.
func (s *wafState) latest(n int, fits func(*audit.Event) bool) []audit.Event {
	s.mu.Lock()
	ring := s.ring
	s.mu.Unlock()
	return ring.Latest(n, fits)
}

// total returns how many events there were.
func (s *wafState) total() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ring.Total()
}

// ruleCounts returns what each rule did that found something.
func (s *wafState) ruleCounts() map[string]*ruleCount {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]*ruleCount, len(s.byRule))
	for id, c := range s.byRule {
		copied := *c
		all[id] = &copied
	}
	return all
}

// maxRuleCounts bounds how many rules are counted each.
const maxRuleCounts = 8192

// mayLog reports whether one more line may go to the log in this second.
func (s *wafState) mayLog(rate int, now time.Time) bool {
	second := now.Unix()
	if before := s.second.Load(); before != second && s.second.CompareAndSwap(before, second) {
		s.logged.Store(0)
	}
	if s.logged.Add(1) <= int64(rate) {
		return true
	}
	s.dropped.Add(1)
	s.metrics.dropped.Inc()
	return false
}

var _ caddy.Destructor = (*wafState)(nil)
