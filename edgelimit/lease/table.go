package lease

import (
	"sync"
	"sync/atomic"
	"time"
)

// DefaultKeys is the default bound of the keys of a table.
const DefaultKeys = 65536

const shards = 64

// The entries looked at to find one that can be missed.
const candidates = 6

// A refusal needs an answer that is not older than this number of rounds.
const freshRounds = 4

// Table is the accounts of one zone on this node. It is safe for concurrent use,
// but [Table.Plan] and [Table.Settle] are for one goroutine.
type Table struct {
	limit    Limit
	perShard int
	nodes    atomic.Int32
	round    atomic.Int64 // duration of a round
	shards   [shards]shard

	untracked atomic.Uint64
	next      int // shard where the next plan begins
	sweep     int // shard where the next sweep begins
}

type shard struct {
	mu      sync.Mutex // guards all below, and the entries
	entries map[Key]*entry
	live    []*entry // asked for since the last plan, or hot, as all with a lease are
	lives   uint64   // accounts begun; never falls, so that none gets the number of another

	leases, tokens int // of the entries of live, at the last plan
}

// New returns the table of a limit, which must be valid. It holds at most keys
// accounts; below 64 means [DefaultKeys]. When it is full, keys of little use
// make room; when all are hot, further keys are left to the share of the node.
func New(l Limit, keys int) *Table {
	if keys < shards {
		keys = DefaultKeys
	}
	t := &Table{limit: l, perShard: keys / shards}
	t.nodes.Store(1)
	t.round.Store(int64(100 * time.Millisecond))
	for i := range t.shards {
		t.shards[i].entries = make(map[Key]*entry)
	}
	return t
}

// SetNodes tells the number of nodes; below 1 counts as 1.
func (t *Table) SetNodes(n int) { t.nodes.Store(int32(max(n, 1))) }

// Take decides whether a key may spend cost tokens now, and books them. With
// Known = false they are booked too; should the caller refuse, then or later,
// it must call [Table.Refund] with the verdict. A cost of 0 or less is always
// allowed.
func (t *Table) Take(k Key, cost int, now time.Time) Verdict {
	if cost <= 0 {
		return Verdict{Known: true, Allowed: true}
	}
	if cost > t.limit.Burst {
		return Verdict{Known: true, RetryAfter: -1}
	}
	s := t.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[k]
	if e == nil {
		if e = s.open(k, t, now); e == nil {
			t.untracked.Add(1)
			return Verdict{}
		}
	}
	s.enlist(e)
	round := time.Duration(t.round.Load())
	return e.take(int64(cost), t.limit, now, freshRounds*round, round)
}

// Refund takes back what a call of [Table.Take] booked, because the request was
// refused after all. It must be called at most once per verdict. A verdict that
// booked nothing is ignored, and so is one from before the account of its key was
// forgotten, reset or taken over: what the account of now holds is not of that
// call.
func (t *Table) Refund(v Verdict) {
	if v.cost == 0 {
		return
	}
	s := t.shard(v.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[v.key]; e != nil && e.life == v.life {
		e.refund(v, int(t.nodes.Load()))
		s.enlist(e)
	}
}

// Forget drops the account of a key, with its lease.
func (t *Table) Forget(k Key) {
	s := t.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[k]; e != nil {
		s.lives++
		*e = entry{key: k, life: s.lives, live: e.live, leaked: e.leaked, seen: e.seen}
	}
}

// Reset drops all accounts: what the server knows and what the node spent while
// they were out of touch have nothing to do with each other.
func (t *Table) Reset() {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		clear(s.entries)
		clear(s.live)
		s.live = s.live[:0]
		s.leases, s.tokens = 0, 0
		s.mu.Unlock()
	}
}

// Stats are figures of a table. The zero value is that of an empty one.
type Stats struct {
	Keys      int    // accounts
	Leases    int    // keys with a lease, at the last plan
	Tokens    int    // tokens of these leases, at the last plan
	Untracked uint64 // calls for keys that had no room, since the start
}

// Stats returns the figures of now.
func (t *Table) Stats() Stats {
	st := Stats{Untracked: t.untracked.Load()}
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		st.Keys += len(s.entries)
		st.Leases += s.leases
		st.Tokens += s.tokens
		s.mu.Unlock()
	}
	return st
}

func (t *Table) shard(k Key) *shard { return &t.shards[k[0]%shards] }

// enlist puts an entry on the list for the next plan. The caller holds the lock.
func (s *shard) enlist(e *entry) {
	if !e.live {
		e.live = true
		s.live = append(s.live, e)
	}
}

// open makes the account of a key, or returns nil if there is no room. The caller
// holds the lock.
func (s *shard) open(k Key, t *Table, now time.Time) *entry {
	var e *entry
	if len(s.entries) < t.perShard {
		e = new(entry)
	} else {
		if e = s.leastUsed(t.limit, int(t.nodes.Load()), now); e == nil {
			return nil
		}
		delete(s.entries, e.key)
	}
	// An entry that is taken over stays where it is in the list for the plan, so
	// that a flood of keys makes neither list nor heap grow.
	s.lives++
	*e = entry{key: k, life: s.lives, live: e.live, leaked: now}
	s.entries[k] = e
	return e
}

// leastUsed returns the least used of a few entries picked at random, or nil when
// none of them can be missed. The caller holds the lock.
func (s *shard) leastUsed(l Limit, nodes int, now time.Time) (least *entry) {
	var lowest float64
	leak := l.Rate / float64(2*nodes)
	left := candidates
	for _, e := range s.entries {
		if left--; left < 0 {
			break
		}
		if e.hot || e.lease > 0 {
			continue
		}
		level := e.level + float64(e.asked) - leak*now.Sub(e.leaked).Seconds()
		if least == nil || level < lowest {
			least, lowest = e, level
		}
	}
	return least
}
