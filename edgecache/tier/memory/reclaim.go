package memory

import "github.com/caddyedge/caddy-edge/edgecache/object"

const (
	// reclaimRounds bounds how often one reservation evicts: others may take
	// the room that it made.
	reclaimRounds = 4
	// reclaimVictims bounds how many objects one round evicts, and so how long
	// it holds the policy's lock.
	reclaimVictims = 8192
	// reclaimAtLeast is what a round frees even when less is needed, so that a
	// budget full of responses on their way does not cost a round per object.
	reclaimAtLeast = 64 << 10
	// reservedShare is the part of the budget, one in so many, for which
	// responses on their way may displace objects.
	reservedShare = 4
)

// Reserve takes n bytes of the budget for a response on its way; when they are
// not free it evicts the objects that are least likely to be used again. It
// reports false, and takes nothing, when a bounded amount of work has not made
// the room, or when the responses on their way would displace objects with more
// than a quarter of the budget: nobody has asked for them twice yet, and a client
// can ask for as many as it likes. What was reserved is given back with Release
// or taken over by PutReserved.
func (m *Memory) Reserve(n int64) bool {
	return m.ledger.Reserve(n) || m.reclaim(n, m.ledger.Budget()/reservedShare)
}

// reserveForObject takes n bytes for an object about to be stored.
func (m *Memory) reserveForObject(n int64) bool {
	return m.ledger.Reserve(n) || m.reclaim(n, m.ledger.Budget())
}

// Charge takes n bytes that are in use whether there is room or not, such as what a
// client waits for whose response is not stored. All objects that are in the way are
// evicted for it; only when there are none is the budget exceeded, and then nothing is
// stored until there is room again.
func (m *Memory) Charge(n int64) {
	if !m.reserveForObject(n) {
		m.ledger.Charge(n)
	}
}

// ChargeIndex is Charge for what is known of the objects beside them. A negative n gives
// back.
func (m *Memory) ChargeIndex(n int64) {
	if n < 0 {
		m.ledger.Release(-n)
	} else {
		m.Charge(n)
	}
	m.indexes.Add(n)
}

// Release gives back n reserved or charged bytes.
func (m *Memory) Release(n int64) { m.ledger.Release(n) }

// reclaim reserves n bytes in place of objects, as long as what is reserved and
// does not belong to objects stays within limit.
func (m *Memory) reclaim(n, limit int64) bool {
	m.reclaiming.Lock()
	defer m.reclaiming.Unlock()
	for range reclaimRounds {
		if m.ledger.Reserve(n) {
			return true
		}
		used := m.ledger.Used()
		// Without this an oversized request would empty the tier in vain.
		if unevictable := used - m.stored.Load(); n > limit-unevictable {
			return false
		}
		missing := used - m.ledger.Budget() + n
		if !m.evict(max(missing, reclaimAtLeast)) {
			break
		}
	}
	return m.ledger.Reserve(n)
}

// evict drops objects of at least n bytes, the coldest first, and reports
// whether there were any. Otter's maximum is left alone: lowering it for a
// moment would reset what its policy has learned.
func (m *Memory) evict(n int64) bool {
	var victims []*object.Object
	// Nothing may be dropped during the walk, which holds the policy's lock.
	for e := range m.cache.Coldest() {
		victims = append(victims, e.Value)
		if n -= e.Value.Weight(); n <= 0 || len(victims) == reclaimVictims {
			break
		}
	}
	for _, o := range victims {
		if m.Drop(o) {
			m.evictions.Add(1)
		}
	}
	return len(victims) > 0
}
