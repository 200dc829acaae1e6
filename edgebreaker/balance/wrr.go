package balance

import "sync"

// Turn is what WRR remembers of one backend, in one picker. The zero value is
// ready. The caller keeps it as long as the backend belongs to the pool, also
// while it is not a candidate.
type Turn struct{ credit int64 }

// turns guards the Turns of a picker.
type turns struct{ mu sync.Mutex }

// unit is what weights are multiplied by, so that shares of them are whole numbers
// and no rounding adds up.
const unit = 1 << 16

// pick is nginx's smooth weighted round robin over those who are there: each earns
// its weight, who has most is picked and pays for all. Who is missing neither earns
// nor pays, so that the others share exactly by their weights.
//
// The credits of a pool that stays the same are within a few total weights. A bound
// keeps them there when backends come and go, each with what it earned or owes.
func (t *turns) pick(pool []Candidate) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	var total int64
	best := -1
	for i := range pool {
		c := &pool[i]
		earned := c.earns()
		total += earned
		c.Turn.credit += earned
		if best < 0 || c.Turn.credit > pool[best].Turn.credit {
			best = i
		}
	}
	pool[best].Turn.credit -= total
	bound := creditBound * total
	for i := range pool {
		turn := pool[i].Turn
		turn.credit = min(max(turn.credit, -bound), bound)
	}
	return best
}

// creditBound is in total weights. The largest credit of n candidates stays below
// the n-th harmonic number, which is 8 for 1600.
const creditBound = 8
