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
	// Allowed are the backends that it may serve.
	Allowed []string
	// Remote is where it connects from, Version what it speaks.
	Remote, Version string
	// Lane is set for one more connection of an instance.
	Lane bool
}

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

	mu       sync.Mutex
	lanes    []*mux.Session
	backends map[string]*Backend
	draining bool
	left     bool
	reason   Reason
	known    map[string]bool // backends that were denied
	denied   []string        // those of them that nobody was told of yet
}

// Backend is one of an agent's.
type Backend struct {
	wire.BackendState
	// Active are the requests of this edge under way, Requests all there were.
	Active, Requests *atomic.Int64
}

func newAgent(h *Hub, id Identity) *Agent {
	return &Agent{Identity: id, Since: time.Now(), hub: h, backends: make(map[string]*Backend), known: make(map[string]bool), idle: make(chan struct{}, 1)}
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
	if a.Draining() {
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
	a.left, a.reason = true, reason
	lanes := a.lanes
	a.mu.Unlock()
	a.hub.forget(a)
	_ = a.main.Close()
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
	if m.Drain {
		a.draining = true
	}
	if m.Backends != nil {
		a.backends = a.merge(m.Backends)
	}
	denied := a.denied
	a.denied = nil
	a.mu.Unlock()
	for _, name := range denied {
		if a.hub.hooks.Denied != nil {
			a.hub.hooks.Denied(a, name)
		}
	}
	a.hub.refresh() // one that drains ends the session itself
}

// merge returns the backends that an agent tells of, as far as it may serve them, with
// the counts of those that there were before. The lock is held.
func (a *Agent) merge(told []wire.BackendState) map[string]*Backend {
	backends := make(map[string]*Backend)
	for _, b := range told {
		if !Allows(a.Allowed, b.Name) {
			if !a.known[b.Name] && len(a.known) < wire.MostBackends {
				a.known[b.Name] = true
				a.denied = append(a.denied, b.Name)
			}
			continue
		}
		if before := a.backends[b.Name]; before != nil {
			backends[b.Name] = &Backend{b, before.Active, before.Requests}
		} else {
			backends[b.Name] = &Backend{b, new(atomic.Int64), new(atomic.Int64)}
		}
	}
	return backends
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
	return a.draining
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

// Streams tells how many requests there are on each connection beside the first, and on
// that.
func (a *Agent) Streams() (lanes []int, first int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.lanes {
		lanes = append(lanes, l.Streams())
	}
	return lanes, a.main.Streams()
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
	draining := a.draining || a.left
	a.mu.Unlock()
	if draining {
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
		return nil, NotTakenError{wire.Refused}
	}
	return st, nil
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
	for a.active.Load() > 0 {
		select {
		case <-a.idle:
			continue
		case <-a.main.Done():
		case <-timer.C:
		}
		break
	}
	const farewell = time.Second
	a.main.Shutdown(farewell)
	a.leave(Drained, nil)
}
