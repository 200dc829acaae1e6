package gcra

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

const (
	minSlots = 64
	// Sixteen sets share a lock, so that locks add 1 byte to a slot; more than 256
	// locks serve no number of processors.
	setsPerStripe = 16
	maxStripes    = 256
)

// Table holds the state of a fixed number of keys. It may be used from any number
// of goroutines at once. Make one with [New].
type Table struct {
	sets    []set
	stripes []stripe
}

// stripe is the lock of every set whose index ends in its number. It guards which
// key a slot belongs to, not what the key owes. It fills one cache line.
type stripe struct {
	sync.Mutex
	evicted atomic.Uint64
	_       [48]byte
}

// New returns an empty table. The number of slots is rounded up to a power of
// two and is at least 64. With twice as many slots as keys in debt hardly ever is
// one of them evicted.
func New(slots int) *Table {
	sets := 1 << bits.Len(uint(max(slots, minSlots)-1)) / ways
	return &Table{
		// The allocator aligns blocks of such sizes to at least a cache line.
		sets:    make([]set, sets),
		stripes: make([]stripe, min(sets/setsPerStripe, maxStripes)),
	}
}

// Check says whether a cost fits and charges nothing. A cost of 0, or below,
// always fits, which makes it the way to inspect a key.
func (t *Table) Check(k Key, l *Limit, cost int, now Time) Verdict {
	return t.apply(k, l, look, units(cost), now.tick())
}

// Charge charges a cost if the whole of it fits, and otherwise nothing. A cost of
// 0, or below, is allowed and charges nothing.
func (t *Table) Charge(k Key, l *Limit, cost int, now Time) Verdict {
	return t.apply(k, l, charge, units(cost), now.tick())
}

// Force charges a cost whether it fits or not, up to the greatest debt of the
// limit: its burst plus its [Limit.Overdraft]. What goes beyond is forgiven. The
// verdict says whether the cost did fit.
func (t *Table) Force(k Key, l *Limit, cost int, now Time) Verdict {
	return t.apply(k, l, force, units(cost), now.tick())
}

// Refund gives a cost back that was charged a moment ago. A key never has more
// than its full burst, and a key that is gone gets nothing.
func (t *Table) Refund(k Key, l *Limit, cost int, now Time) {
	t.apply(k, l, refund, units(cost), now.tick())
}

// Reset forgets a key and reports whether it was known.
func (t *Table) Reset(k Key) bool {
	set, lock := t.locate(k)
	lock.Lock()
	defer lock.Unlock()
	for {
		at, val := set.find(k.fingerprint())
		if at == nil {
			return false
		}
		if at.turn(val, 0, 0) {
			return true
		}
	}
}

func units(cost int) uint64 { return uint64(max(cost, 0)) }

func (t *Table) locate(k Key) (*set, *stripe) {
	index := k.set & uint64(len(t.sets)-1)
	return &t.sets[index], &t.stripes[index&uint64(len(t.stripes)-1)]
}

// apply takes one step on the state of a key. A key that is not in the table is
// idle, and comes in only if the step changes that.
func (t *Table) apply(k Key, l *Limit, a action, cost uint64, now int64) Verdict {
	set, lock := t.locate(k)
	print := k.fingerprint()
	for {
		at, val := set.find(print)
		if at == nil {
			idle := l.idle(now)
			state, v := l.step(a, idle, cost, now)
			if state == idle || lock.bring(set, print, state, l, now) {
				return v
			}
			continue
		}
		state, v := l.step(a, val>>genBits, cost, now)
		if state == val>>genBits || at.val.CompareAndSwap(val, state<<genBits|val&genMask) {
			return v
		}
	}
}

// bring puts a key with its first charge into a set, unless another goroutine
// did so first.
func (s *stripe) bring(set *set, print, state uint64, l *Limit, now int64) bool {
	s.Lock()
	defer s.Unlock()
	if at, _ := set.find(print); at != nil {
		return false
	}
	if set.place(print, state, l, now) {
		s.evicted.Add(1)
	}
	return true
}
