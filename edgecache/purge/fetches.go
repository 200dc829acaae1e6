package purge

import (
	"sync"
	"sync/atomic"
)

// fetches counts the fetches under way by the sequence number that each began
// with. Its size is bounded by the number of fetches, not by how long they take
// or how many purges come meanwhile.
type fetches struct {
	mu     sync.Mutex // also held while the number to count is read
	counts map[uint64]int
}

// Begin returns the current sequence number for an object whose fetch is about
// to start, and keeps the purges that come after it: until [Table.End], however
// many sweeps there are, the object can be judged. Begin must come before the
// request leaves, and every Begin needs exactly one End.
//
// So that fetches without end cannot fill the table, a sweep gives up those
// that began before it when more than an eighth of [MaxOutstanding] or of
// [MaxWildcards] would stay for them. Then Accept refuses what they bring.
func (t *Table) Begin() uint64 {
	f := &t.fetches
	f.mu.Lock()
	defer f.mu.Unlock()
	seq := t.latest.Load()
	f.counts[seq]++
	return seq
}

// End tells that the fetch that began with seq is over: its object has been
// stored, or there is none. A number that is not in use is ignored; one End too
// many can at worst make Accept refuse another fetch's object.
func (t *Table) End(seq uint64) {
	f := &t.fetches
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts[seq] > 1 {
		f.counts[seq]--
		return
	}
	delete(f.counts, seq)
}

// held returns the latest number and the oldest one in use, which is latest when
// none is. Numbers below floor don't count: purges after them are forgotten.
//
// Whoever begins after this gets latest or more, since a number is read under
// the lock it is counted under. So no fetch can slip in below the oldest.
func (f *fetches) held(current *atomic.Uint64, floor uint64) (latest, oldest uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	latest = current.Load()
	oldest = latest
	for seq := range f.counts {
		if seq >= floor {
			oldest = min(oldest, seq)
		}
	}
	return latest, oldest
}
