// Package hub is the edge's side of the tunnel: which agents there are, what backends
// they have, and the exchange of a request with one of them. It knows nothing of Caddy.
package hub

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyedge/caddy-edge/edgetunnel/mux"
	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
)

// Hub holds the agents of a process. It is safe for concurrent use. Use New.
type Hub struct {
	hooks Hooks

	// backends are the routes. It is replaced whole, so that requests need no lock.
	backends atomic.Pointer[table]

	mu      sync.Mutex
	agents  map[string]*Agent // by name
	changed chan struct{}     // closed at the next change
	revoked map[string]bool   // tokens, by id
	held    map[string]bool   // agents that an operator keeps away, by name
}

// Hooks are called when something happens, outside of all locks. They must not block.
type Hooks struct {
	// Denied is called when an agent tells of a backend that its token does not allow, once
	// for each.
	Denied func(a *Agent, backend string)
	// Connected is called with a new agent.
	Connected func(*Agent)
	// Left is called when an agent is gone, and why.
	Left func(a *Agent, reason Reason, err error)
	// Answered is called with each response, and NotTaken with each request that an agent
	// did not take.
	Answered func(backend string, status int)
	NotTaken func(backend string, status wire.Status)
	// Failed is called with each other request that got no response.
	Failed func(backend string, err error)
}

// Reason is why an agent left.
type Reason string

// Reasons.
const (
	Lost     Reason = "lost"     // the connection broke, or the agent was silent
	Drained  Reason = "drained"  // all requests were done
	Revoked  Reason = "revoked"  // its token is not valid any more
	Replaced Reason = "replaced" // the same instance has connected again
)

// New returns a hub without agents.
func New(hooks Hooks) *Hub {
	h := &Hub{hooks: hooks, agents: make(map[string]*Agent), changed: make(chan struct{}), revoked: make(map[string]bool), held: make(map[string]bool)}
	h.backends.Store(new(table))
	return h
}

// Errors of Admit and Attach.
var (
	ErrRevoked = errors.New("the token was revoked")
	ErrHeld    = errors.New("the agent is kept away")
	ErrTaken   = errors.New("another agent of that name is connected")
	ErrFull    = errors.New("too many agents with that token")
	ErrNoFirst = errors.New("there is no session that the connection belongs to")
	ErrLanes   = errors.New("too many connections")
)

// Admit reports whether an agent may connect, before it is let in. What it finds may have
// changed when the agent is attached.
func (h *Hub) Admit(id Identity, most int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.admit(id, most)
}

func (h *Hub) admit(id Identity, most int) error {
	a := h.agents[id.Name]
	switch {
	case h.revoked[id.Token]:
		return ErrRevoked
	case h.held[id.Name]:
		return ErrHeld
	case id.Lane:
		return a.takesLane(id)
	case a != nil && (a.Token != id.Token || a.Instance != id.Instance):
		return ErrTaken
	case a != nil:
		return nil
	}
	n := 0
	for _, a := range h.agents {
		if a.Token == id.Token && a.Handler == id.Handler {
			n++
		}
	}
	if n >= most {
		return ErrFull
	}
	return nil
}

// Attach lets an agent in whose session connect makes; it is called with the lock held
// and must not block. The agent takes no requests before it has told of its backends.
func (h *Hub) Attach(id Identity, most int, connect func(config mux.Config) *mux.Session, config mux.Config) (*Agent, error) {
	h.mu.Lock()
	if err := h.admit(id, most); err != nil {
		h.mu.Unlock()
		return nil, err
	}
	if id.Lane {
		a := h.agents[id.Name]
		lane := connect(config)
		a.addLane(lane)
		h.mu.Unlock()
		go a.watchLane(lane)
		return a, nil
	}
	before := h.agents[id.Name]
	a := newAgent(h, id)
	config.Control = a.control
	a.main = connect(config)
	h.agents[id.Name] = a
	h.mu.Unlock()
	if before != nil {
		before.leave(Replaced, nil)
	}
	call(h.hooks.Connected, a)
	go a.watch()
	return a, nil
}

// forget takes an agent out.
func (h *Hub) forget(a *Agent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.agents[a.Name] == a {
		delete(h.agents, a.Name)
	}
	h.update()
}

// refresh takes note of what has changed about an agent.
func (h *Hub) refresh() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.update()
}

// update makes the table of backends anew. The lock is held.
func (h *Hub) update() {
	t := table{make(map[string][]*Route), make(map[string]*Route)}
	for _, a := range h.agents {
		for name, b := range a.serves() {
			r := &Route{Agent: a, Backend: b, Address: Address(a.Name, name)}
			r.Dial = wire.Network + "/" + r.Address
			t.backends[name] = append(t.backends[name], r)
			t.addresses[r.Address] = r
		}
	}
	for _, routes := range t.backends {
		slices.SortFunc(routes, func(a, b *Route) int { return cmp.Compare(a.Address, b.Address) })
	}
	h.backends.Store(&t)
	close(h.changed)
	h.changed = make(chan struct{})
}

// table is what requests look up.
type table struct {
	backends  map[string][]*Route
	addresses map[string]*Route
}

// Route is a backend of an agent that takes requests.
type Route struct {
	Agent   *Agent
	Backend Backend
	// Address is how it is called as an upstream, Dial the same with its network in front.
	Address, Dial string
}

// Routes returns those to a backend, by address. The caller must not change the slice.
func (h *Hub) Routes(backend string) []*Route { return h.backends.Load().backends[backend] }

// Route returns the one of that address, nil if it takes no requests.
func (h *Hub) Route(address string) *Route { return h.backends.Load().addresses[address] }

// Wait waits until there is a route to a backend, for as long as ctx lasts.
func (h *Hub) Wait(ctx context.Context, backend string) []*Route {
	for {
		h.mu.Lock()
		changed := h.changed
		h.mu.Unlock()
		if routes := h.Routes(backend); len(routes) > 0 {
			return routes
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// All returns all agents, by name.
func (h *Hub) All() []*Agent {
	h.mu.Lock()
	defer h.mu.Unlock()
	agents := make([]*Agent, 0, len(h.agents))
	for _, a := range h.agents {
		agents = append(agents, a)
	}
	slices.SortFunc(agents, func(a, b *Agent) int { return cmp.Compare(a.Name, b.Name) })
	return agents
}

// Address is how an upstream of an agent is called.
func Address(agent, backend string) string { return agent + "." + backend + ":1" }

// Check closes the agents that valid does not accept any more.
func (h *Hub) Check(valid func(Identity) bool) {
	for _, a := range h.All() {
		if !valid(a.Identity) {
			a.leave(Revoked, nil)
		}
	}
}

// Revoke closes the sessions of a token at once and lets no more in, until Allow.
func (h *Hub) Revoke(token string) (closed int) {
	h.mu.Lock()
	h.revoked[token] = true
	h.mu.Unlock()
	for _, a := range h.All() {
		if a.Token == token {
			a.leave(Revoked, nil)
			closed++
		}
	}
	return closed
}

// Allow takes Revoke back, and reports whether there was anything to take back.
func (h *Hub) Allow(token string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.revoked[token]
	delete(h.revoked, token)
	return was
}

// Revoked returns the tokens that were revoked.
func (h *Hub) Revoked() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return sortedKeys(h.revoked)
}

// Held returns the agents that are kept away.
func (h *Hub) Held() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return sortedKeys(h.held)
}

func sortedKeys(set map[string]bool) []string {
	keys := make([]string, 0, len(set))
	for k := range set {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Drain gives an agent no more requests, ends its session when those under way are done
// or the deadline is over, and keeps it away until Resume. It reports whether there is
// such an agent.
func (h *Hub) Drain(name string, deadline time.Duration) bool {
	h.mu.Lock()
	a := h.agents[name]
	if a != nil {
		h.held[name] = true
	}
	h.mu.Unlock()
	if a == nil {
		return false
	}
	go a.drain(deadline, awayWhileHeld)
	return true
}

// awayWhileHeld is how long an agent that is kept away waits before it asks again.
const awayWhileHeld = 30 * time.Second

// Resume takes Drain back, and reports whether there was anything to take back.
func (h *Hub) Resume(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.held[name]
	delete(h.held, name)
	return was
}

// Close drains all agents, for at most deadline.
func (h *Hub) Close(deadline time.Duration) {
	var all sync.WaitGroup
	for _, a := range h.All() {
		all.Go(func() { a.drain(deadline, 0) })
	}
	all.Wait()
}

func call[T any](f func(T), value T) {
	if f != nil {
		f(value)
	}
}
