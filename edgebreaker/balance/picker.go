package balance

import (
	"math/rand/v2"
	"time"
)

// Candidate is a backend that may be asked.
type Candidate struct {
	// Weight is its share of the requests relative to the others, from 1 to 65535;
	// what is outside counts as the nearest bound.
	Weight int
	// Share is the part of the weight that it gets, above 0 to 1: less than 1
	// during slow start. What is outside counts as 1.
	Share float64
	// Active is the number of requests that it works on.
	Active int
	// Latency is the time that it takes to answer; 0: not known. Only P2C looks at
	// it.
	Latency time.Duration
	// Turn is the memory of WRR, which no other policy needs. It must not be nil
	// there.
	Turn *Turn
}

// Policy is a way to pick.
type Policy uint8

const (
	// WRR is smooth weighted round robin.
	WRR Policy = iota
	// LeastConn picks who works on the fewest requests for its weight.
	LeastConn
	// P2C picks the better of two, by latency times requests in flight.
	P2C
)

var policyNames = [...]string{"wrr", "least_conn", "p2c"}

// String returns the name as in a configuration.
func (p Policy) String() string {
	if int(p) >= len(policyNames) {
		return "unknown"
	}
	return policyNames[p]
}

// ParsePolicy returns the policy of a name.
func ParsePolicy(s string) (Policy, bool) {
	for i, n := range policyNames {
		if n == s {
			return Policy(i), true
		}
	}
	return WRR, false
}

// Picker picks by a policy. It is safe for concurrent use; use New to make one.
type Picker struct {
	policy Policy
	random func() float64
	turns  turns
}

// New returns a picker. random gives numbers from 0 up to 1 and must be safe for
// concurrent use; nil means math/rand/v2.
func New(p Policy, random func() float64) *Picker {
	if random == nil {
		random = rand.Float64
	}
	return &Picker{policy: p, random: random}
}

// Pick returns the index of the one to ask, or -1 without candidates. It allocates
// nothing and keeps no reference to the pool.
//
// Under WRR a candidate in slow start gets Weight times Share. The other policies
// go by load, and an idle newcomer would get all there is. So it is picked with the
// probability that WRR would give it, unless it works on more than twice as many
// requests as who would be picked otherwise, and the policy decides among the rest.
func (p *Picker) Pick(pool []Candidate) int {
	switch {
	case len(pool) <= 1:
		return len(pool) - 1
	case p.policy == WRR:
		return p.turns.pick(pool)
	}
	settled, newcomers := survey(pool)
	var newcomer int
	var drawn bool
	if newcomers > 0 {
		if newcomer, drawn = p.drawNewcomer(pool, settled*unit+newcomers); settled == 0 {
			return newcomer
		}
	}
	var usual int
	if p.policy == P2C {
		usual = pickP2C(pool, settled, p.random)
	} else {
		usual = pickLeastConn(pool, p.random)
	}
	if drawn && pool[newcomer].load() <= 2*pool[usual].load() {
		return newcomer
	}
	return usual
}

func (c *Candidate) weight() int64 { return int64(min(max(c.Weight, 1), 65535)) }

// full reports whether it is not in slow start.
func (c *Candidate) full() bool { return !(c.Share > 0 && c.Share < 1) }

// load is what it will work on, for its weight, when it is picked.
func (c *Candidate) load() float64 { return float64(c.Active+1) / float64(c.weight()) }

// earns is the weight times the share in units.
func (c *Candidate) earns() int64 {
	if c.full() {
		return c.weight() * unit
	}
	return max(int64(float64(c.weight()*unit)*c.Share), 1)
}

// survey sums the weights of those that are not in slow start, and what those in
// it earn, in units.
func survey(pool []Candidate) (settled, newcomers int64) {
	for i := range pool {
		if c := &pool[i]; c.full() {
			settled += c.weight()
		} else {
			newcomers += c.earns()
		}
	}
	return settled, newcomers
}

// drawNewcomer returns the candidate in slow start whose turn it is, if it is that of
// one. What all candidates earn is total.
func (p *Picker) drawNewcomer(pool []Candidate, total int64) (int, bool) {
	left := int64(p.random() * float64(total))
	for i := range pool {
		if pool[i].full() {
			continue
		}
		if left -= pool[i].earns(); left < 0 {
			return i, true
		}
	}
	return 0, false
}
