package breaker

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Registry finds backends by address. It holds a bounded number of them, also
// when a client may choose the addresses. It is safe for concurrent use; use
// NewRegistry to make one.
//
// When it is full, a backend makes room for the new one: the first that is idle,
// closed and was not asked for since the last round, else one that is idle and
// closed, else one that is idle and not closed. Those with attempts under way and
// those that an operator forced stay. When there are only such, the new backend is
// not kept: it works, but each Get of its address makes another one.
//
// Backends that somebody holds come on top of the bound, and always stay. They are
// for the addresses that a configuration names.
type Registry struct {
	most   int
	random func() float64
	byName sync.Map // of string to *Backend; read without a lock

	mu   sync.Mutex // guards the writes, and Backend.holders
	ring []*Backend // all that nobody holds, in the order in which they are looked at
	hand int
	held int // how many are held

	evicted, unkept atomic.Uint64
}

// longestAddress is the longest that is kept. A host name has at most 253 bytes.
const longestAddress = 512

// NewRegistry returns a registry for up to most backends, at least 1. For random
// see New.
func NewRegistry(most int, random func() float64) *Registry {
	return &Registry{most: max(most, 1), random: random}
}

// Get returns the backend at an address, a new one if need be. An address longer
// than 512 bytes is never kept.
func (r *Registry) Get(address string) *Backend {
	if b, ok := r.Lookup(address); ok {
		return b
	}
	return r.add(address)
}

// Lookup returns the backend at an address if it is known.
func (r *Registry) Lookup(address string) (*Backend, bool) {
	v, ok := r.byName.Load(address)
	if !ok {
		return nil, false
	}
	b := v.(*Backend)
	if !b.used.Load() { // seldom, so that the line is not written all the time
		b.used.Store(true)
	}
	return b, true
}

func (r *Registry) add(address string) *Backend {
	if len(address) > longestAddress {
		r.unkept.Add(1)
		return New(address, r.random)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if b, ok := r.Lookup(address); ok {
		return b
	}
	b := New(strings.Clone(address), r.random)
	if r.keep(b) {
		r.byName.Store(b.address, b)
	} else {
		r.unkept.Add(1)
	}
	return b
}

// Hold returns the backend at an address like Get, and keeps it until Release. It
// may be called several times.
func (r *Registry) Hold(address string) *Backend {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.Lookup(address)
	if !ok {
		b = New(strings.Clone(address), r.random)
		r.byName.Store(b.address, b)
	}
	if b.holders == 0 {
		r.held++
		if i := slices.Index(r.ring, b); i >= 0 {
			r.ring = slices.Delete(r.ring, i, i+1)
		}
	}
	b.holders++
	return b
}

// Release takes back one Hold; one too many does nothing. The state stays for whoever comes next, such as the
// configuration after this one, as long as there is room.
func (r *Registry) Release(b *Backend) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b.holders == 0 {
		return
	}
	if b.holders--; b.holders > 0 {
		return
	}
	r.held--
	if !r.keep(b) {
		r.byName.Delete(b.address)
		r.unkept.Add(1)
	}
}

// keep puts a backend into the ring, if there is room or somebody makes room.
func (r *Registry) keep(b *Backend) bool {
	if len(r.ring) < r.most {
		r.ring = append(r.ring, b)
		return true
	}
	i := r.victim()
	if i < 0 {
		return false
	}
	r.evicted.Add(1)
	r.byName.Delete(r.ring[i].address)
	r.ring[i] = b
	r.hand = (i + 1) % len(r.ring)
	return true
}

// victim returns who makes room; -1: nobody. It looks at each at most twice, since
// the first look takes the mark of use away.
func (r *Registry) victim() int {
	busy, second := 0, -1 // choice
	for n := range 2 * len(r.ring) {
		if n == len(r.ring) && busy == n {
			break
		}
		i := (r.hand + n) % len(r.ring)
		b := r.ring[i]
		idle, plain := b.spare()
		switch {
		case !idle:
			busy++
		case b.used.Swap(false):
		case plain:
			return i
		case second < 0:
			second = i
		}
	}
	return second
}

// spare reports whether the backend may be forgotten, and whether nothing is lost
// by that.
func (b *Backend) spare() (idle, plain bool) {
	if b.active.Load() > 0 {
		return false, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mode == Auto, b.state == Closed
}

// Range calls f for each backend until it returns false, in no order. f may call
// any method.
func (r *Registry) Range(f func(*Backend) bool) {
	r.byName.Range(func(_, v any) bool { return f(v.(*Backend)) })
}

// Len returns how many backends are kept.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ring) + r.held
}

// Losses returns how many backends made room for others, and how many were handed
// out that could not be kept.
func (r *Registry) Losses() (evicted, unkept uint64) { return r.evicted.Load(), r.unkept.Load() }
