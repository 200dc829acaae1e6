package hub

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyedge/caddy-edge/edgetunnel/mux"
	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
)

// Identity is what an agent has shown that it is.
type Identity struct {
	// Name and Instance are those that the agent gives itself.
	Name, Instance string
	// Token is the id of its token, Hash that of the secret, Handler the name of who let it
	// in.
	Token   string
	Hash    wire.Hash
	Handler string
	// Allowed are the backends that it might serve when it connected.
	Allowed []string
	// Certificate are the names in its certificate, nil if it has shown none.
	Certificate []string
	// Remote is where it connects from, Version what it speaks.
	Remote, Version string
	// Lane is set for one more connection of an instance.
	Lane bool
}

func (id *Identity) key() key { return key{id.Handler, id.Name} }

// Agent is one that is connected.
type Agent struct {
	Identity
	// Since is when it connected.
	Since time.Time

	hub      *Hub
	main     *mux.Session
	active   atomic.Int64
	requests atomic.Int64
	idle     chan struct{} // has something when active may have become 0

	paced time.Time // when it has changed last; for the goroutine that reads

	mu       sync.Mutex
	lanes    []*mux.Session
	allowed  []string
	told     []wire.BackendState // of all backends, also of those that are not allowed
	backends map[string]*Backend
	draining bool
	ending   bool // somebody waits for its requests
	left     bool
	known    map[string]bool // backends that were denied
	denied   []string        // those of them that nobody was told of yet
}

// Backend is one of an agent's.
type Backend struct {
	wire.BackendState
	// Active are the requests of this edge under way, Requests all there were, Foreign those
	// under way that others have sent, as far as the agent has told.
	Active, Requests, Foreign *atomic.Int64
}

func newAgent(h *Hub, id Identity) *Agent {
	return &Agent{Identity: id, Since: time.Now(), hub: h, allowed: id.Allowed, backends: make(map[string]*Backend), known: make(map[string]bool), idle: make(chan struct{}, 1)}
}

// takesLane reports whether a connection belongs to this agent, which may be nil.
func (a *Agent) takesLane(id Identity) error {
	if a == nil || a.Instance != id.Instance || a.Token != id.Token || a.Handler != id.Handler {
		return ErrNoFirst
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.left:
		return ErrNoFirst
	case len(a.lanes) >= wire.MostLanes:
		return ErrLanes
	}
	return nil
}

func (a *Agent) addLane(s *mux.Session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lanes = append(a.lanes, s)
	if a.left {
		_ = s.Close()
	}
}

// watchLane forgets a lane when it has ended.
func (a *Agent) watchLane(s *mux.Session) {
	<-s.Done()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lanes = slices.DeleteFunc(slices.Clone(a.lanes), func(l *mux.Session) bool { return l == s })
}

// watch waits for the end of the session.
func (a *Agent) watch() {
	<-a.main.Done()
	reason := Lost
	if a.Draining() && a.active.Load() == 0 {
		reason = Drained
	}
	a.leave(reason, a.main.Err())
}

// leave ends the session, once.
func (a *Agent) leave(reason Reason, err error) {
	a.mu.Lock()
	if a.left {
		a.mu.Unlock()
		return
	}
	a.left = true
	lanes := a.lanes
	a.mu.Unlock()
	a.hub.forget(a)
	if reason == Lost {
		_ = a.main.Close()
	} else {
		// All streams end with it, which takes as long as saying why.
		_ = a.main.SendControl(wire.Message{Bye: string(reason)}.Encode()) // it may be gone
		go a.main.Shutdown(farewell)
	}
	for _, l := range lanes {
		_ = l.Close()
	}
	if a.hub.hooks.Left != nil {
		a.hub.hooks.Left(a, reason, err)
	}
}

// control takes a message of the agent's.
func (a *Agent) control(b []byte) {
	m, err := wire.ParseMessage(b)
	if err != nil {
		go a.leave(Lost, err)
		return
	}
	a.mu.Lock()
	changed := m.Drain && !a.draining
	a.draining = a.draining || m.Drain
	if m.Backends != nil {
		changed = a.merge(m.Backends) || changed
	}
	a.mu.Unlock()
	a.tellDenied()
	if changed {
		a.pace()
		a.hub.refresh()
	}
	if m.Drain {
		go a.finish(nil)
	}
}

// paceOfChanges is how often an agent may change, as all routes are made anew each time.
const paceOfChanges = 10 * time.Millisecond

// pace holds an agent up that changes more often, by not reading on.
func (a *Agent) pace() {
	time.Sleep(time.Until(a.paced.Add(paceOfChanges)))
	a.paced = time.Now()
}

// allow changes the backends that the agent may serve.
func (a *Agent) allow(allowed []string) {
	a.mu.Lock()
	same := slices.Equal(a.allowed, allowed)
	a.allowed = allowed
	if !same {
		clear(a.known)
		a.merge(a.told)
	}
	a.mu.Unlock()
	if !same {
		a.tellDenied()
		a.hub.refresh()
	}
}

// tellDenied tells of backends that are not allowed.
func (a *Agent) tellDenied() {
	a.mu.Lock()
	denied := a.denied
	a.denied = nil
	a.mu.Unlock()
	for _, name := range denied {
		if a.hub.hooks.Denied != nil {
			a.hub.hooks.Denied(a, name)
		}
	}
}

// merge takes over what an agent tells of its backends, as far as it may serve them, and
// reports whether anything but their load has changed. The lock is held.
func (a *Agent) merge(told []wire.BackendState) (changed bool) {
	a.told = told
	backends := make(map[string]*Backend)
	for _, b := range told {
		if !Allows(a.allowed, b.Name) {
			if !a.known[b.Name] && len(a.known) < wire.MostBackends {
				a.known[b.Name] = true
				a.denied = append(a.denied, b.Name)
			}
			continue
		}
		before := a.backends[b.Name]
		if before == nil {
			before = &Backend{Active: new(atomic.Int64), Requests: new(atomic.Int64), Foreign: new(atomic.Int64)}
		}
		before.Foreign.Store(max(int64(b.Load)-before.Active.Load(), 0))
		b.Load = 0 // it is in Foreign
		changed = changed || b != before.BackendState
		backends[b.Name] = &Backend{b, before.Active, before.Requests, before.Foreign}
	}
	changed = changed || len(backends) != len(a.backends)
	a.backends = backends
	return changed
}

// serves returns the backends for which the agent takes requests.
func (a *Agent) serves() map[string]Backend {
	a.mu.Lock()
	defer a.mu.Unlock()
	serves := make(map[string]Backend)
	for name, b := range a.backends {
		if !b.Unhealthy && !a.draining && !a.left {
			serves[name] = *b
		}
	}
	return serves
}

// AnyBackend allows all backends.
const AnyBackend = "*"

// Allows reports whether a list of backends has one of that name.
func Allows(allowed []string, name string) bool {
	return slices.Contains(allowed, name) || slices.Contains(allowed, AnyBackend)
}

// Backends returns all backends of the agent, by name.
func (a *Agent) Backends() []Backend {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []Backend
	for _, name := range slices.Sorted(maps.Keys(a.backends)) {
		all = append(all, *a.backends[name])
	}
	return all
}

// Draining reports whether the agent gets no more requests.
func (a *Agent) Draining() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.draining || a.left
}

// Active tells how many requests are under way.
func (a *Agent) Active() int64 { return a.active.Load() }

// Requests tells how many requests there were.
func (a *Agent) Requests() int64 { return a.requests.Load() }

// RTT is the round-trip time to the agent.
func (a *Agent) RTT() time.Duration { return a.main.RTT() }

// Lanes tells how many connections there are beside the first.
func (a *Agent) Lanes() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.lanes)
}

// Bytes tells how many bytes were received from the agent and sent to it over the
// connections that there are.
func (a *Agent) Bytes() (in, out uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	in, out = a.main.Bytes()
	for _, l := range a.lanes {
		i, o := l.Bytes()
		in, out = in+i, out+o
	}
	return in, out
}

// Held tells how many bytes may be held for its streams.
func (a *Agent) Held() (held int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	held = a.main.Held()
	for _, l := range a.lanes {
		held += l.Held()
	}
	return held
}

// open begins a stream: on a lane that has none, or on the first connection.
func (a *Agent) open(first []byte) (*mux.Stream, error) {
	a.mu.Lock()
	lanes := a.lanes
	a.mu.Unlock()
	if a.Draining() {
		return nil, NotTakenError{wire.Draining}
	}
	for _, l := range lanes {
		if l.Streams() == 0 {
			if st, err := l.Open(first); err == nil {
				return st, nil
			}
		}
	}
	st, err := a.main.Open(first)
	switch {
	case errors.Is(err, mux.ErrTooMany):
		return nil, NotTakenError{wire.Overloaded}
	case err != nil:
		return nil, a.gone()
	}
	return st, nil
}

// gone is the error of a request that can't reach the agent.
func (a *Agent) gone() error {
	if a.Draining() {
		return NotTakenError{wire.Draining}
	}
	return NotTakenError{wire.Refused}
}

// began and ended count a request.
func (a *Agent) began(b Backend) {
	a.requests.Add(1)
	a.active.Add(1)
	b.Requests.Add(1)
	b.Active.Add(1)
}

func (a *Agent) ended(b Backend) {
	b.Active.Add(-1)
	if a.active.Add(-1) == 0 {
		select {
		case a.idle <- struct{}{}:
		default:
		}
	}
}

// drain lets the requests under way finish, for at most deadline, and ends the session.
// The agent is told to stay away for a while.
func (a *Agent) drain(deadline, away time.Duration) {
	a.mu.Lock()
	a.draining = true
	a.mu.Unlock()
	a.hub.refresh()
	_ = a.main.SendControl(wire.Message{Drain: true, Away: away.Milliseconds()}.Encode()) // it may be gone
	timer := time.NewTimer(deadline)
	defer timer.Stop()
	a.finish(timer.C)
}

// finish ends the session of an agent that drains when all requests are done: it is this side
// that knows when their responses have come. The agent has a deadline of its own.
func (a *Agent) finish(deadline <-chan time.Time) {
	a.mu.Lock()
	waited := a.ending && deadline == nil
	a.ending = true
	a.mu.Unlock()
	if waited {
		return
	}
	for a.active.Load() > 0 {
		select {
		case <-a.idle:
			continue
		case <-a.main.Done():
		case <-deadline:
		}
		break
	}
	a.leave(Drained, nil)
	<-a.main.Done()
}

// farewell is how long the last message may take.
const farewell = time.Second
