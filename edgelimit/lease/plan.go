package lease

import (
	"math"
	"time"
)

// Ask is what a node has to say to the server about a key in one round.
type Ask struct {
	Key   Key
	Spent int64 // tokens spent without a lease: charged in any case
	Back  int64 // tokens of a lease that are not needed
	Want  int64 // tokens to lease
}

// Answer is what the server says to an [Ask].
type Answer struct {
	Granted int64   // of the tokens wanted
	Free    float64 // left in the bucket after that; a debt when negative
}

// The part of the shards that one plan sweeps for idle accounts: 1/16.
const sweepShards = shards / 16

// Plan ends a round. It appends to asks what is to be sent now, at most limit of
// them; what does not fit comes up in the next plan. round is the time since the
// last plan, at least 1 ms.
//
// What an Ask carries is off the account: an exchange that fails is neither
// repeated nor undone, since nobody knows whether the server has done it.
func (t *Table) Plan(asks []Ask, limit int, round time.Duration, now time.Time) []Ask {
	round = max(round, time.Millisecond)
	t.round.Store(int64(round))
	nodes := int(t.nodes.Load())
	end := len(asks) + max(limit, 0)
	for i := range t.shards {
		asks = t.planShard(asks, end, &t.shards[(t.next+i)%shards], nodes, round, now)
	}
	t.next = (t.next + 1) % shards
	for range sweepShards {
		asks = t.sweepShard(asks, end, &t.shards[t.sweep], nodes, round, now)
		t.sweep = (t.sweep + 1) % shards
	}
	return asks
}

func (t *Table) planShard(asks []Ask, end int, s *shard, nodes int, round time.Duration, now time.Time) []Ask {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leases, s.tokens = 0, 0
	kept := s.live[:0]
	for _, e := range s.live {
		e.reckon(t.limit, nodes, round, now)
		waits := false
		if a, due := e.ask(t.limit, nodes, round); due {
			if waits = len(asks) >= end; !waits {
				asks = append(asks, a)
				e.handOver(a)
			}
		}
		if e.lease > 0 {
			s.leases++
			s.tokens += int(e.lease)
		}
		if e.live = waits || e.hot; e.live {
			kept = append(kept, e)
		} else {
			e.pace = 0 // nobody watches it fall
		}
	}
	clear(s.live[len(kept):])
	s.live = kept
	return asks
}

// ask says what to send about a key, and whether it is worth sending.
func (e *entry) ask(l Limit, nodes int, round time.Duration) (a Ask, due bool) {
	target := e.target(l, round)
	a = Ask{Key: e.key, Spent: e.spent, Want: max(0, target-e.lease)}
	// A lease that is a little too large is left alone.
	if e.lease > 2*target {
		a.Back = e.lease - target
	}
	switch {
	case a.Want > 0 || a.Back > 0:
		return a, true
	case e.hot:
		return a, e.spent > 0
	default:
		return a, e.spent > lump(l, nodes)
	}
}

// handOver takes what an Ask carries off the account. What it asks for is not the
// node's to spend on credit meanwhile.
func (e *entry) handOver(a Ask) {
	e.spent -= a.Spent
	e.lease -= a.Back
	e.free -= float64(a.Spent)
	rest := max(0, int64(math.Floor(e.free)))
	e.due = min(a.Want, rest)
	e.credit = min(e.credit, rest-e.due)
}

// sweepShard drops the accounts of keys that have not been used for a while.
func (t *Table) sweepShard(asks []Ask, end int, s *shard, nodes int, round time.Duration, now time.Time) []Ask {
	// Until then the bucket is full again, but for what others use.
	idle := max(t.limit.refill(float64(t.limit.Burst)), 20*round)
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, e := range s.entries {
		switch {
		case e.live || now.Sub(e.seen) <= idle:
		case e.spent <= negligible(t.limit, nodes):
			delete(s.entries, k)
		case len(asks) < end:
			asks = append(asks, Ask{Key: k, Spent: e.spent})
			e.spent = 0
		}
	}
	return asks
}

// lump is the uncharged use that a node may keep to itself while a key is not
// hot: all the nodes together keep less than a quarter of the burst.
func lump(l Limit, nodes int) int64 { return int64(l.Burst / (4 * nodes)) }

// negligible is the use that need not be charged at all when a key goes idle:
// all nodes together lose less than 5 % of the burst per time to refill it. It
// saves a call for each of the many clients that come once.
func negligible(l Limit, nodes int) int64 { return int64(l.Burst / (20 * nodes)) }

// Settle books the answer to an [Ask]. Where none has come, [Table.Unanswered]
// takes its place.
func (t *Table) Settle(k Key, a Answer, now time.Time) {
	s := t.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[k]; e != nil {
		e.settle(a, int(t.nodes.Load()), now)
		s.enlist(e)
	}
}

// Unanswered says that the server could not answer the [Ask] about a key: it is
// left to the share of the node until there is an answer.
func (t *Table) Unanswered(k Key) {
	s := t.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[k]; e != nil {
		e.unanswered()
	}
}

// Drain takes all leases and all uncharged use off the accounts and appends them
// to asks: the node is leaving.
func (t *Table) Drain(asks []Ask) []Ask {
	nodes := int(t.nodes.Load())
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for k, e := range s.entries {
			if e.lease > 0 || e.spent > negligible(t.limit, nodes) {
				asks = append(asks, Ask{Key: k, Spent: e.spent, Back: e.lease})
			}
		}
		s.mu.Unlock()
	}
	t.Reset()
	return asks
}
