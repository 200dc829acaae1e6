// Package memory is the memory tier: objects ranked by W-TinyLFU within a hard
// budget in bytes.
//
// Otter ranks and evicts, but runs above its maximum while writers are ahead of
// its maintenance. So every byte is taken from a [Ledger] before it is used: by
// objects before they are inserted, and by responses still on their way, which
// share the budget. Otter's maximum is a little lower than the budget, so that
// its evictions, not the ledger, usually make the room.
package memory

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"

	"github.com/maypok86/otter/v2"

	"github.com/caddyedge/caddy-edge/edgecache/object"
	"github.com/caddyedge/caddy-edge/edgecache/tier"
)

// Memory implements tier.Tier. It starts no goroutines.
type Memory struct {
	// The key of the table is a hash, not the object's key: otter keeps the
	// first key when a value is replaced, and a string would keep the whole
	// record it points into. Get compares the real keys; of two that have the
	// same hash the later one displaces the other.
	cache  *otter.Cache[uint64, *object.Object]
	seed   maphash.Seed
	ledger *Ledger

	stored    atomic.Int64 // bytes of the ledger that belong to objects
	indexes   atomic.Int64 // bytes of the ledger that belong to what is known of them
	evictions atomic.Uint64
	rejected  atomic.Uint64

	// reclaiming makes writers that found no room wait for one another, so
	// that they do not all evict the same objects.
	reclaiming sync.Mutex
}

// New returns an empty tier with a budget in bytes.
func New(budget int64) *Memory {
	m := &Memory{seed: maphash.MakeSeed(), ledger: NewLedger(budget)}
	m.cache = otter.Must(&otter.Options[uint64, *object.Object]{
		MaximumWeight: maximum(budget),
		// An object heavier than this is refused by fits.
		Weigher: func(_ uint64, o *object.Object) uint32 { return uint32(o.Weight()) },
		// The atomic listener is called exactly once for each object that
		// leaves the table, whatever the cause, and under a lock: so it only
		// counts.
		OnAtomicDeletion: m.left,
		// Maintenance on the caller's goroutine keeps writers from running
		// ahead of it. What it calls back, left, never calls the cache.
		Executor: func(fn func()) { fn() },
	})
	return m
}

// maximum returns otter's part of a budget. The rest is for responses on their
// way and for writers ahead of otter's maintenance.
func maximum(budget int64) uint64 {
	return uint64(max(budget-budget/8, 1))
}

func (m *Memory) left(e otter.DeletionEvent[uint64, *object.Object]) {
	w := e.Value.Weight()
	m.stored.Add(-w)
	m.ledger.Release(w)
	if e.WasEvicted() {
		m.evictions.Add(1)
	}
}

// Get implements tier.Tier.
func (m *Memory) Get(key string) (*object.Object, bool) {
	o, ok := m.cache.GetIfPresent(m.hash(key))
	if !ok || o.Key() != key {
		return nil, false
	}
	return o, true
}

// Put implements tier.Tier.
func (m *Memory) Put(o *object.Object) bool {
	return m.PutReserved(o, 0)
}

// PutReserved stores o, for which reserved bytes were already reserved: it
// takes the reservation over, whether it stores o or not. See tier.Tier's Put
// for the result.
func (m *Memory) PutReserved(o *object.Object, reserved int64) bool {
	w := o.Weight()
	if !m.fits(w) || !m.reserveForObject(w-reserved) {
		m.ledger.Release(reserved)
		m.rejected.Add(1)
		return false
	}
	if reserved > w {
		m.ledger.Release(reserved - w)
	}
	m.stored.Add(w)
	m.cache.Set(m.hash(o.Key()), o)
	return true
}

// fits reports whether an object of weight w can be stored at all. Otter holds
// weights as 32 bits, and evicts at once what exceeds its maximum.
func (m *Memory) fits(w int64) bool { return w <= Largest(m.ledger.Budget()) }

// Largest returns what an object may weigh, in bytes, that a budget can hold.
func Largest(budget int64) int64 { return int64(min(maximum(budget), math.MaxUint32)) }

// Delete implements tier.Tier.
func (m *Memory) Delete(key string) {
	m.drop(m.hash(key), func(o *object.Object) bool { return o.Key() == key })
}

// Drop implements tier.Tier.
func (m *Memory) Drop(o *object.Object) bool {
	return m.drop(m.hash(o.Key()), func(stored *object.Object) bool { return stored == o })
}

func (m *Memory) drop(hash uint64, match func(*object.Object) bool) (dropped bool) {
	m.cache.ComputeIfPresent(hash, func(o *object.Object) (*object.Object, otter.ComputeOp) {
		if !match(o) {
			return o, otter.CancelOp
		}
		dropped = true
		return nil, otter.InvalidateOp
	})
	return dropped
}

// Range implements tier.Tier.
func (m *Memory) Range(yield func(*object.Object) bool) {
	m.cache.Values()(yield)
}

// Stats implements tier.Tier.
func (m *Memory) Stats() tier.Stats {
	stored := m.stored.Load() + m.indexes.Load()
	return tier.Stats{
		Entries:   m.cache.EstimatedSize(),
		Bytes:     stored,
		Reserved:  max(m.ledger.Used()-stored, 0),
		Peak:      m.ledger.Peak(),
		Budget:    m.ledger.Budget(),
		Evictions: m.evictions.Load(),
		Rejected:  m.rejected.Load(),
	}
}

// Ledger returns the ledger of the tier, for inspection. Use the Reserve method
// of Memory to reserve, which makes room.
func (m *Memory) Ledger() *Ledger { return m.ledger }

// SetBudget changes the budget in bytes and evicts what exceeds a smaller one.
func (m *Memory) SetBudget(n int64) {
	m.ledger.SetBudget(n)
	m.cache.SetMaximum(maximum(n))
}

// Close drops every object. There is nothing else to stop: a fetch that ends
// later may still use the tier, which is garbage once nobody holds it.
func (m *Memory) Close() { m.cache.InvalidateAll() }

func (m *Memory) hash(key string) uint64 { return maphash.String(m.seed, key) }

var _ tier.Tier = (*Memory)(nil)
