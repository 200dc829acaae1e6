// Package hub is the edge's side of the tunnel: which agents there are, what backends
// they have, and the exchange of a request with one of them. It knows nothing of Caddy.
package hub

import (
	"cmp"
	"context"
	"errors"
	"maps"
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

	orders *Orders

	mu      sync.Mutex
	agents  map[key]*Agent
	leaving map[*Agent]bool // that another one of the same name has taken the place of
	changed chan struct{}   // closed at the next change
	closed  bool
}

// key is what there is one agent of at a time.
type key struct{ handler, name string }

// Orders are those of operators. They may outlive a hub. Use NewOrders.
type Orders struct {
	mu      sync.Mutex
	revoked map[string]bool // tokens, by id
	held    map[string]bool // agents, by name
}

// NewOrders returns none.
func NewOrders() *Orders { return &Orders{revoked: make(map[string]bool), held: make(map[string]bool)} }

// set gives or takes an order, and reports whether that changes anything.
func (o *Orders) set(orders map[string]bool, name string, on bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	was := orders[name]
	if on {
		orders[name] = true
	} else {
		delete(orders, name)
	}
	return was != on
}

func (o *Orders) has(orders map[string]bool, name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return orders[name]
}

func (o *Orders) list(orders map[string]bool) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append(make([]string, 0), slices.Sorted(maps.Keys(orders))...)
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

// New returns a hub without agents, where those orders hold.
func New(hooks Hooks, orders *Orders) *Hub {
	h := &Hub{hooks: hooks, orders: orders, agents: make(map[key]*Agent), leaving: make(map[*Agent]bool), changed: make(chan struct{})}
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
	ErrClosed  = errors.New("the edge takes no agents any more")
)

// Admit reports whether an agent may connect, before it is let in. What it finds may have
// changed when the agent is attached.
func (h *Hub) Admit(id Identity, most int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.admit(id, most)
}

func (h *Hub) admit(id Identity, most int) error {
	a := h.agents[id.key()]
	switch {
	case h.closed:
		return ErrClosed
	case h.orders.has(h.orders.revoked, id.Token):
		return ErrRevoked
	case h.orders.has(h.orders.held, id.Name):
		return ErrHeld
	case id.Lane:
		return a.takesLane(id)
	case a != nil && a.Draining(): // its name is free
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
		a := h.agents[id.key()]
		lane := connect(config)
		a.addLane(lane)
		h.mu.Unlock()
		go a.watchLane(lane)
		return a, nil
	}
	before := h.agents[id.key()]
	drains := before != nil && before.Draining()
	if drains {
		h.leaving[before] = true
	}
	a := newAgent(h, id)
	config.Control = a.control
	a.main = connect(config)
	h.agents[id.key()] = a
	h.mu.Unlock()
	if before != nil && !drains {
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
	if h.agents[a.key()] == a {
		delete(h.agents, a.key())
	}
	delete(h.leaving, a)
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
	t := table{make(map[key][]*Route), make(map[string]*Route)}
	for _, a := range h.agents {
		for name, b := range a.serves() {
			r := &Route{Agent: a, Backend: b, Address: a.Address(name)}
			r.Dial = wire.Network + "/" + r.Address
			t.backends[key{a.Handler, name}] = append(t.backends[key{a.Handler, name}], r)
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
	backends  map[key][]*Route // by handler and backend
	addresses map[string]*Route
}

// Route is a backend of an agent that takes requests.
type Route struct {
	Agent   *Agent
	Backend Backend
	// Address is how it is called as an upstream, Dial the same with its network in front.
	Address, Dial string
}

// Routes returns those to a backend of the agents that a handler has let in, by address. The
// caller must not change the slice.
func (h *Hub) Routes(handler, backend string) []*Route {
	return h.backends.Load().backends[key{handler, backend}]
}

// Route returns the one of that address, nil if it takes no requests.
func (h *Hub) Route(address string) *Route { return h.backends.Load().addresses[address] }

// Wait waits until there is a route to a backend, for as long as ctx lasts.
func (h *Hub) Wait(ctx context.Context, handler, backend string) []*Route {
	for {
		h.mu.Lock()
		changed := h.changed
		h.mu.Unlock()
		if routes := h.Routes(handler, backend); len(routes) > 0 {
			return routes
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// All returns all agents but those whose place others have taken, by name.
func (h *Hub) All() []*Agent {
	h.mu.Lock()
	defer h.mu.Unlock()
	agents := slices.Collect(maps.Values(h.agents))
	slices.SortFunc(agents, func(a, b *Agent) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Handler, b.Handler))
	})
	return agents
}

// every returns all agents.
func (h *Hub) every() []*Agent {
	agents := h.All()
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.AppendSeq(agents, maps.Keys(h.leaving))
}

// DefaultHandler is the name of handlers that have none. Addresses do not show it.
const DefaultHandler = "default"

// Address is how an upstream of the agent is called.
func (id *Identity) Address(backend string) string {
	if id.Handler == DefaultHandler {
		return id.Name + "." + backend + ":1"
	}
	return id.Name + "." + backend + "." + id.Handler + ":1"
}

// Verdict is what becomes of an agent that was let in before.
type Verdict uint8

// Verdicts.
const (
	// Keep is for agents that would be let in again.
	Keep Verdict = iota
	// Close is for those that would not.
	Close
	// Finish is for those that nobody is there for any more.
	Finish
)

// Check looks at all agents again. judge returns the backends that they may serve now.
// Requests of those that are to finish have that long.
func (h *Hub) Check(judge func(Identity) ([]string, Verdict), deadline time.Duration) {
	for _, a := range h.every() {
		switch allowed, verdict := judge(a.Identity); verdict {
		case Keep:
			a.allow(allowed)
		case Finish:
			go a.drain(deadline, 0)
		default:
			a.leave(Revoked, nil)
		}
	}
}

// Revoke closes the sessions of a token at once and lets no more in, until Allow.
func (h *Hub) Revoke(token string) (closed int, changed bool) {
	changed = h.orders.set(h.orders.revoked, token, true)
	for _, a := range h.every() {
		if a.Token == token {
			a.leave(Revoked, nil)
			closed++
		}
	}
	return closed, changed
}

// Allow takes Revoke back, and reports whether there was anything to take back.
func (h *Hub) Allow(token string) bool { return h.orders.set(h.orders.revoked, token, false) }

// Revoked returns the tokens that were revoked.
func (h *Hub) Revoked() []string { return h.orders.list(h.orders.revoked) }

// Held returns the agents that are kept away.
func (h *Hub) Held() []string { return h.orders.list(h.orders.held) }

// Drain gives an agent no more requests, ends its session when those under way are done
// or the deadline is over, and keeps it away until Resume. It reports whether there is
// such an agent.
func (h *Hub) Drain(name string, deadline time.Duration) (found bool) {
	for _, a := range h.All() {
		if a.Name == name {
			found = true
			h.orders.set(h.orders.held, name, true)
			go a.drain(deadline, awayWhileHeld)
		}
	}
	return found
}

// awayWhileHeld is how long an agent that is kept away waits before it asks again.
const awayWhileHeld = 5 * time.Second

// Resume takes Drain back, and reports whether there was anything to take back.
func (h *Hub) Resume(name string) bool { return h.orders.set(h.orders.held, name, false) }

// Close drains all agents, for at most deadline, and lets no more in.
func (h *Hub) Close(deadline time.Duration) {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	var all sync.WaitGroup
	for _, a := range h.every() {
		all.Go(func() { a.drain(deadline, 0) })
	}
	all.Wait()
}

func call[T any](f func(T), value T) {
	if f != nil {
		f(value)
	}
}
