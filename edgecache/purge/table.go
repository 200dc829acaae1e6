package purge

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/caddyedge/caddy-edge/edgecache/object"
)

const (
	// MaxOutstanding is the most purges that a table keeps apart; they take
	// about 12 MiB. One more makes it purge everything older instead.
	MaxOutstanding = 1 << 18
	// MaxWildcards is the most wildcards among them, which are compared one by
	// one. One more makes the table purge everything older instead.
	MaxWildcards = 4096
	// MaxDepth is the most path segments of a prefix that count.
	MaxDepth = 32

	// keptShare is the part of either maximum that a sweep leaves outstanding for
	// fetches under way; with more, it gives the fetches up. The rest is room for
	// the purges until the next sweep.
	keptShare = 8
)

// Table holds the outstanding purges. All methods are safe for concurrent use;
// Check takes no lock.
type Table struct {
	seed maphash.Seed

	// latest is published after the purge itself, so whoever sees a number
	// finds every purge up to it. newest is the same for each kind.
	latest atomic.Uint64
	newest [numKinds]atomic.Uint64
	state  atomic.Pointer[state]

	adding   sync.Mutex // guards changes of all of the above
	sweeping sync.Mutex // one sweep at a time

	fetches fetches
}

// state is what is replaced as a whole, so that readers always see a floor that
// fits to what was forgotten. Only index changes in place.
type state struct {
	index     *index
	wildcards []wildcard // in the order of their numbers
	depth     int        // most segments of any prefix
	floor     uint64     // purges up to this number may be forgotten; only sweeps raise it
}

// New returns an empty table whose sequence number is 0.
func New() *Table {
	t := &Table{seed: maphash.MakeSeed(), fetches: fetches{counts: make(map[uint64]int)}}
	t.state.Store(&state{index: newIndex(0)})
	return t
}

// Seq returns the current sequence number. For a fetch take the one of Begin.
func (t *Table) Seq() uint64 { return t.latest.Load() }

// Accept reports whether an object whose fetch started at seq can still be
// judged. If not, purges that may have concerned it are forgotten: it must not
// be stored, and Check says that it is gone. Between Begin and End that happens
// only to fetches that were given up.
func (t *Table) Accept(seq uint64) bool { return seq >= t.state.Load().floor }

// Outstanding returns how many distinct purges have not been forgotten.
func (t *Table) Outstanding() int {
	t.adding.Lock()
	defer t.adding.Unlock()
	return t.state.Load().outstanding()
}

// Bytes returns the memory that the outstanding purges take, beside a fixed part of less
// than 2 KiB. It is at most 12 MiB, and what the wildcards weigh.
func (t *Table) Bytes() int64 {
	t.adding.Lock()
	defer t.adding.Unlock()
	s := t.state.Load()
	n := int64(len(s.index.slots)-smallestIndex) * int64(unsafe.Sizeof(slot{}))
	for i := range s.wildcards {
		n += s.wildcards[i].bytes()
	}
	return n
}

func (s *state) outstanding() int { return s.index.count + len(s.wildcards) }

// Add makes purges take effect, all with the same new sequence number, which it
// returns. When it returns, no Check lets a purged object pass. The time does
// not depend on the number of objects, nor, on average, of purges. Without
// purges it returns the current number.
func (t *Table) Add(purges ...Purge) uint64 {
	t.adding.Lock()
	defer t.adding.Unlock()
	if len(purges) == 0 {
		return t.latest.Load()
	}
	seq := t.latest.Load() + 1
	for _, p := range purges {
		t.addLocked(p, seq)
		t.newest[p.Kind].Store(seq)
	}
	t.latest.Store(seq)
	return seq
}

func (t *Table) addLocked(p Purge, seq uint64) {
	s := t.state.Load()
	if p.Kind == Wildcard {
		if len(s.wildcards) >= MaxWildcards || s.outstanding() >= MaxOutstanding {
			t.collapseLocked(seq)
			return
		}
		next := *s
		// Readers of an earlier state never look behind the end of their slice,
		// so its array may be shared.
		next.wildcards = append(s.wildcards, newWildcard(p.Value, seq, p.Soft))
		t.state.Store(&next)
		return
	}
	hash := t.hashOf(p)
	if s.index.get(hash) == (marks{}) {
		if s.outstanding() >= MaxOutstanding {
			t.collapseLocked(seq)
			return
		}
		s = t.roomLocked(s, p)
	}
	m := marks{hard: seq}
	if p.Soft {
		m = marks{soft: seq}
	}
	s.index.put(hash, m)
}

// roomLocked returns the state, replaced if need be, that can take p, which is
// new and no wildcard.
func (t *Table) roomLocked(s *state, p Purge) *state {
	depth := s.depth
	if p.Kind == Prefix {
		_, d := prefixOf(splitURL(p.Value).path)
		depth = max(depth, d)
	}
	if depth == s.depth && !s.index.full() {
		return s
	}
	next := *s
	next.depth = depth
	if s.index.full() {
		next.index = s.index.newer(0)
	}
	t.state.Store(&next)
	return &next
}

// collapseLocked replaces all purges by one of everything.
func (t *Table) collapseLocked(seq uint64) {
	s := &state{index: newIndex(0), floor: t.state.Load().floor}
	s.index.put(t.hashOf(Purge{Kind: All}), marks{hard: seq})
	t.newest[All].Store(seq)
	t.state.Store(s)
}

// Check tells what the purges say about o, and remembers in o that it was asked.
// While no purge was added since the last time this is a comparison of two
// numbers; otherwise the kinds of the purges that are new to o are looked up.
func (t *Table) Check(o *object.Object) Verdict {
	latest := t.latest.Load()
	if o.CheckedSeq() < latest {
		return t.check(o, latest)
	}
	if o.Stale() {
		return Soft
	}
	return Live
}

// check is the slow part of Check. It must load the state after latest: then
// what is missing there up to latest was forgotten, and the floor tells.
func (t *Table) check(o *object.Object, latest uint64) Verdict {
	q := query{table: t, state: t.state.Load(), object: o, checked: o.CheckedSeq()}
	if q.checked < q.state.floor || q.run() == Gone {
		return Gone
	}
	if q.verdict == Soft {
		o.MarkStale(time.Now())
	}
	o.SetCheckedSeq(latest)
	if o.Stale() {
		return Soft
	}
	return Live
}

// Sweep asks Check about every object that each yields, calls drop for those
// that are gone, and then forgets the purges from before the pass, except those
// that came after the oldest fetch that was under way when it began. Each must
// yield every stored object; it may miss those that are stored meanwhile. A
// missed object is judged by the purges that were kept if its fetch was under
// way or started later; if not, it is gone from then on unless Check has seen it
// since the pass began. So nothing purged comes back. Sweep returns how many
// objects it dropped; without outstanding purges it does nothing.
func (t *Table) Sweep(each func(yield func(*object.Object) bool), drop func(*object.Object)) (dropped int) {
	t.sweeping.Lock()
	defer t.sweeping.Unlock()
	if t.Outstanding() == 0 {
		return 0
	}
	// Before the pass: what a fetch stores behind the pass must still find its
	// purges when the fetch is over before the pass is.
	passed, oldest := t.fetches.held(&t.latest, t.state.Load().floor)
	each(func(o *object.Object) bool {
		if t.Check(o) == Gone {
			drop(o)
			dropped++
		}
		return true
	})
	t.forget(passed, oldest)
	return dropped
}

// forget removes the purges up to oldest, or up to passed when too many would
// stay.
func (t *Table) forget(passed, oldest uint64) {
	t.adding.Lock()
	defer t.adding.Unlock()
	old := t.state.Load()
	next := t.newerLocked(old, oldest)
	if next.outstanding() >= MaxOutstanding/keptShare || len(next.wildcards) >= MaxWildcards/keptShare {
		next = t.newerLocked(old, passed)
	}
	t.state.Store(next)
}

// newerLocked returns a copy of old with the purges after seq alone.
func (t *Table) newerLocked(old *state, seq uint64) *state {
	s := &state{index: old.index.newer(seq), floor: max(old.floor, seq)}
	if t.newest[Prefix].Load() > seq {
		s.depth = old.depth
	}
	for _, w := range old.wildcards {
		if w.seq > seq {
			s.wildcards = append(s.wildcards, w)
		}
	}
	return s
}
