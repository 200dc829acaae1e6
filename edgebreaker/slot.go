package edgebreaker

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// crowd counts the requests that a backend has, and holds those that wait for it.
// It exists only while there are any.
type crowd struct {
	address string
	active  int
	waiting []*place // in the order of their coming
}

// place is one in the queue. Its channel is closed when the slot is its.
type place struct {
	turn chan struct{}
	most int // the limit of its handler
}

// crowds are those of all handlers with a limit, by address. Handlers with different
// limits count together, and each enters by its own. Nobody ever waits who could
// enter: release sees to that, and nothing else makes room.
type crowds struct {
	shards [16]struct {
		mu sync.Mutex
		m  map[string]*crowd
	}
}

var (
	limited   crowds
	crowdSeed = maphash.MakeSeed()
)

// slot is a place among the requests of a backend. The nil slot is none.
type slot struct {
	address string
	free    atomic.Bool
}

func (c *crowds) shard(address string) (*sync.Mutex, map[string]*crowd) {
	s := &c.shards[maphash.String(crowdSeed, address)%uint64(len(c.shards))]
	s.mu.Lock()
	if s.m == nil {
		s.m = make(map[string]*crowd)
	}
	return &s.mu, s.m
}

// active returns how many requests with a slot the backend has.
func (c *crowds) active(address string) int {
	mu, m := c.shard(address)
	defer mu.Unlock()
	if crowd := m[address]; crowd != nil {
		return crowd.active
	}
	return 0
}

// take takes a slot if there are fewer than most taken. Else it gets in line if
// fewer than queue wait: then p is not nil.
func (c *crowds) take(address string, most, queue int) (s *slot, p *place) {
	mu, m := c.shard(address)
	defer mu.Unlock()
	here := m[address]
	if here == nil {
		here = &crowd{address: address}
		m[address] = here
	}
	if here.active < most {
		here.active++
		return &slot{address: address}, nil
	}
	if len(here.waiting) < queue {
		p = &place{turn: make(chan struct{}), most: most}
		here.waiting = append(here.waiting, p)
	}
	return nil, p
}

// leave takes a place out of the line. It is false when the slot is its already.
func (c *crowds) leave(address string, p *place) bool {
	mu, m := c.shard(address)
	defer mu.Unlock()
	here := m[address]
	if here == nil {
		return false
	}
	i := slices.Index(here.waiting, p)
	if i < 0 {
		return false
	}
	here.waiting = slices.Delete(here.waiting, i, i+1)
	return true
}

// release gives a slot of the backend back, to the first in line whose limit lets it
// enter.
func (c *crowds) release(address string) {
	mu, m := c.shard(address)
	defer mu.Unlock()
	here := m[address]
	if i := slices.IndexFunc(here.waiting, func(p *place) bool { return here.active <= p.most }); i >= 0 {
		close(here.waiting[i].turn)
		here.waiting = slices.Delete(here.waiting, i, i+1)
		return
	}
	if here.active--; here.active == 0 {
		delete(m, address)
	}
}

// release gives the slot back, once.
func (s *slot) release() {
	if s != nil && !s.free.Swap(true) {
		limited.release(s.address)
	}
}

// freeSlot takes a slot of a backend if there is one. Without a limit the slot is nil.
func (h *Handler) freeSlot(b *breaker.Backend) (*slot, bool) {
	if h.Concurrency == 0 {
		return nil, true
	}
	s, _ := limited.take(b.Address(), h.Concurrency, 0)
	return s, s != nil
}

// takeSlot takes a slot of a backend, and waits for it if it may. Without a limit
// the slot is nil.
func (h *Handler) takeSlot(ctx context.Context, b *breaker.Backend) (*slot, bool) {
	if h.Concurrency == 0 {
		return nil, true
	}
	s, p := limited.take(b.Address(), h.Concurrency, h.Queue)
	if p == nil {
		return s, s != nil
	}
	timer := time.NewTimer(time.Duration(h.QueueDeadline))
	defer timer.Stop()
	select {
	case <-p.turn:
		return &slot{address: b.Address()}, true
	case <-timer.C:
	case <-ctx.Done():
	}
	if limited.leave(b.Address(), p) {
		return nil, false
	}
	s = &slot{address: b.Address()} // it came at the last moment
	if ctx.Err() != nil {
		s.release()
		return nil, false
	}
	return s, true
}

// crowded reports whether a backend has as many requests as it may.
func (h *Handler) crowded(b *breaker.Backend) bool {
	return h.Concurrency > 0 && limited.active(b.Address()) >= h.Concurrency
}
