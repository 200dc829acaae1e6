package gcra

import "sync/atomic"

// Both words of a slot carry 48 bits above a generation of 16.
const (
	genBits   = 16
	genMask   = 1<<genBits - 1
	stateMask = 1<<48 - 1
)

// slot is the place of one key: an identity (fingerprint, generation) and a value
// (state, generation). The value counts only if the generations agree. Identity
// and generation change only under the lock of the set.
type slot struct {
	id, val atomic.Uint64
}

// ways is the number of slots of a set: one cache line of them.
const ways = 4

// set holds the keys of one index.
type set [ways]slot

// find returns the slot of a fingerprint and its value, or nil. A key whose slot
// is just being taken is absent already.
func (s *set) find(print uint64) (*slot, uint64) {
	for i := 0; i < ways; i++ {
		at := &s[i]
		id := at.id.Load()
		if id>>genBits != print {
			continue
		}
		val := at.val.Load()
		if at.id.Load() != id {
			// The slot went to another key, so this one may have come back elsewhere.
			i = -1
			continue
		}
		if (id^val)&genMask != 0 {
			return nil, 0
		}
		return at, val
	}
	return nil, 0
}

// place puts a key into the slot with the least debt and reports whether that
// one still owed something. The caller holds the lock of the set and knows that
// the key is not in it.
func (s *set) place(print, state uint64, l *Limit, now int64) (evicted bool) {
	for {
		victim, val, debt := s.victim(l, now)
		if victim.turn(val, print, state) {
			return debt > 0
		}
		// The victim was charged meanwhile and may not be the least any more.
	}
}

// victim returns the first empty slot, or the one with the least debt.
func (s *set) victim(l *Limit, now int64) (least *slot, val, debt uint64) {
	for i := range s {
		at := &s[i]
		v := at.val.Load()
		if at.id.Load()>>genBits == 0 {
			return at, v, 0
		}
		if d := l.debt(v>>genBits, now); least == nil || d < debt {
			least, val, debt = at, v, d
		}
	}
	return least, val, debt
}

// turn gives the slot to another fingerprint, or to none if print is 0. It fails
// if the value is not val any more. The value goes first: from then on the old
// key is gone, and when the new identity shows, its state is there. The caller
// holds the lock of the set.
func (s *slot) turn(val, print, state uint64) bool {
	gen := (val + 1) & genMask
	if !s.val.CompareAndSwap(val, state<<genBits|gen) {
		return false
	}
	s.id.Store(print<<genBits | gen)
	return true
}
