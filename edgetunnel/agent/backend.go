package agent

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
)

// server is who takes the requests for a backend.
type server interface{ serve(*conn) }

// backend is one of an agent's.
type backend struct {
	name      string
	server    server
	weight    int
	most      int64
	unhealthy atomic.Bool
	active    atomic.Int64
}

// Backends are those of an agent. They may change while it is connected. The zero value
// has none.
type Backends struct {
	// Log returns who is told of backends that can't be reached. Nil: nobody is.
	Log func() *zap.Logger

	mu      sync.Mutex
	all     map[string][]*backend // by name; the last one takes the requests
	changed []chan struct{}
}

// Listen gives the requests for a backend to the listener that it returns, until that is
// closed. A later listener or forward takes over from one before, and gives back to it
// when it is closed.
func (bs *Backends) Listen(name string) (*Listener, error) {
	if err := wire.CheckName(name); err != nil {
		return nil, err
	}
	b := &backend{name: name, weight: 1, most: DefaultMaxRequests}
	l := newListener(name, func() { bs.remove(b) })
	b.server = l
	bs.add(b)
	return l, nil
}

// Forward passes the requests for a backend on, until stop is called. It fails when there
// is something wrong with f, whose defaults it fills in.
func (bs *Backends) Forward(name string, f Forward) (stop func(), err error) {
	if err := wire.CheckName(name); err != nil {
		return nil, err
	}
	b := &backend{name: name}
	var told notice
	fwd, err := newForwarder(f, func(err error) {
		if bs.Log != nil && told.due(time.Now()) {
			bs.Log().Warn("a request got no response of its backend", zap.String("backend", name), zap.Error(err))
		}
	}, func(healthy bool) {
		if b.unhealthy.Swap(!healthy) != healthy {
			return
		}
		if bs.Log != nil {
			bs.Log().Warn("the health of a backend has changed", zap.String("backend", name), zap.Bool("healthy", healthy))
		}
		bs.notify()
	})
	if err != nil {
		return nil, err
	}
	b.server, b.weight, b.most = fwd, fwd.Weight, int64(fwd.MaxRequests)
	bs.add(b)
	return sync.OnceFunc(func() {
		bs.remove(b)
		fwd.stop()
	}), nil
}

// notice is told now and then. The zero value is due.
type notice struct{ next atomic.Int64 }

// noticeInterval is how often, at most.
const noticeInterval = 10 * time.Second

func (n *notice) due(now time.Time) bool {
	next := n.next.Load()
	return now.UnixNano() >= next && n.next.CompareAndSwap(next, now.Add(noticeInterval).UnixNano())
}

func (bs *Backends) add(b *backend) {
	bs.mu.Lock()
	if bs.all == nil {
		bs.all = make(map[string][]*backend)
	}
	bs.all[b.name] = append(bs.all[b.name], b)
	bs.mu.Unlock()
	bs.notify()
}

func (bs *Backends) remove(b *backend) {
	bs.mu.Lock()
	bs.all[b.name] = slices.DeleteFunc(bs.all[b.name], func(other *backend) bool { return other == b })
	if len(bs.all[b.name]) == 0 {
		delete(bs.all, b.name)
	}
	bs.mu.Unlock()
	bs.notify()
}

// watch returns a channel that has something when backends have changed.
func (bs *Backends) watch() (changed chan struct{}, stop func()) {
	changed = make(chan struct{}, 1)
	bs.mu.Lock()
	defer bs.mu.Unlock()
	bs.changed = append(bs.changed, changed)
	return changed, func() {
		bs.mu.Lock()
		defer bs.mu.Unlock()
		bs.changed = slices.DeleteFunc(bs.changed, func(c chan struct{}) bool { return c == changed })
	}
}

func (bs *Backends) notify() {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	for _, c := range bs.changed {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// lookup finds who takes the requests for a backend.
func (bs *Backends) lookup(name string) *backend {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if all := bs.all[name]; len(all) > 0 {
		return all[len(all)-1]
	}
	return nil
}

// states are what the edges are told.
func (bs *Backends) states() []wire.BackendState {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	states := make([]wire.BackendState, 0, len(bs.all))
	for name, all := range bs.all {
		b := all[len(all)-1]
		states = append(states, wire.BackendState{
			Name: name, Weight: b.weight, Unhealthy: b.unhealthy.Load(), Load: int(b.active.Load()),
		})
	}
	slices.SortFunc(states, func(a, b wire.BackendState) int { return cmp.Compare(a.Name, b.Name) })
	return states
}

// take hands a request to the backend, if it has room.
func (b *backend) take(c *conn) {
	if b.active.Add(1) > b.most {
		b.active.Add(-1)
		c.refuse(wire.Overloaded)
		return
	}
	done := c.done
	c.done = func() {
		b.active.Add(-1)
		done()
	}
	b.server.serve(c)
}
