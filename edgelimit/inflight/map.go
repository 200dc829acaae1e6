// Package inflight counts what is going on at this moment, by key.
package inflight

import "sync"

const shards = 64

// Key names a counter. Its parts should be hashes that a client can't choose.
type Key [2]uint64

// Map counts by key. It is exact, safe for concurrent use and holds only keys
// whose count is above zero, so that its size is bounded by what is in flight.
// Use New to make one.
type Map struct{ shards [shards]shard }

type shard struct {
	mu     sync.Mutex
	counts map[Key]int
	_      [48]byte // a cache line each
}

// New returns an empty map.
func New() *Map {
	m := new(Map)
	for i := range m.shards {
		m.shards[i].counts = make(map[Key]int)
	}
	return m
}

func (m *Map) shard(k Key) *shard { return &m.shards[k[1]%shards] }

// Enter counts one more for a key unless limit are counted already. Who got true
// has to Leave. A limit that was lowered holds back the next ones only.
func (m *Map) Enter(k Key, limit int) bool {
	s := m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.counts[k]
	if n >= limit {
		return false
	}
	s.counts[k] = n + 1
	return true
}

// Leave takes back one Enter.
func (m *Map) Leave(k Key) {
	s := m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.counts[k]; n > 1 {
		s.counts[k] = n - 1
	} else {
		delete(s.counts, k)
	}
}

// Count returns the count of a key.
func (m *Map) Count(k Key) int {
	s := m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[k]
}

// Totals returns how many keys there are, and the sum of their counts. Both are
// of no single moment while others enter and leave.
func (m *Map) Totals() (keys, entered int) {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		keys += len(s.counts)
		for _, n := range s.counts {
			entered += n
		}
		s.mu.Unlock()
	}
	return keys, entered
}
