package purge

import (
	"math/bits"
	"sync/atomic"
)

// index maps the hash of a purge to the numbers of its latest hard and soft
// form. Look-ups are lock-free and may run beside one writer, which only ever
// adds: to forget, a new index is made. A collision of two hashes purges an
// object too many, never one too few.
type index struct {
	slots []slot // a power of two, at most half full
	count int    // used by the writer only
}

type slot struct{ hash, hard, soft atomic.Uint64 }

// marks are purge sequence numbers; zero means never.
type marks struct{ hard, soft uint64 }

// smallestIndex is how many slots an index has at least.
const smallestIndex = 64

// newIndex returns an index with room for n entries.
func newIndex(n int) *index {
	return &index{slots: make([]slot, 2<<bits.Len(uint(max(n, smallestIndex/2)-1)))}
}

// find returns the slot of hash, which is not zero, or the empty one where it
// belongs.
func (x *index) find(hash uint64) *slot {
	mask := uint64(len(x.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		if h := x.slots[i].hash.Load(); h == hash || h == 0 {
			return &x.slots[i]
		}
	}
}

func (x *index) get(hash uint64) marks {
	s := x.find(hash)
	return marks{hard: s.hard.Load(), soft: s.soft.Load()}
}

// full reports whether the next new hash needs a larger index.
func (x *index) full() bool { return x.count >= len(x.slots)/2 }

// put raises the marks of hash; the index must not be full. A reader finds the
// new entry with its marks or not at all.
func (x *index) put(hash uint64, m marks) {
	s := x.find(hash)
	if m.hard > s.hard.Load() {
		s.hard.Store(m.hard)
	}
	if m.soft > s.soft.Load() {
		s.soft.Store(m.soft)
	}
	if s.hash.Load() == 0 {
		s.hash.Store(hash)
		x.count++
	}
}

// newer returns a copy with the entries that have a mark greater than seq, and
// with room for one more.
func (x *index) newer(seq uint64) *index {
	n := 0
	for i := range x.slots {
		if x.slots[i].newest() > seq {
			n++
		}
	}
	y := newIndex(n + 1)
	for i := range x.slots {
		if s := &x.slots[i]; s.newest() > seq {
			y.put(s.hash.Load(), marks{hard: s.hard.Load(), soft: s.soft.Load()})
		}
	}
	return y
}

func (s *slot) newest() uint64 { return max(s.hard.Load(), s.soft.Load()) }
