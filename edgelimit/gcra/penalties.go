package gcra

import "time"

// Penalties holds the keys that are shut out until a time, in a table like
// [Table]: when a set is full the penalty that ends first makes room. It may be
// used from any number of goroutines at once. Make one with [NewPenalties].
type Penalties struct {
	table *Table
}

// A penalty is a debt of one unit per tick.
var penalty = Limit{
	algorithm: rate, ticks: 1,
	burst: maxSpan, deepest: maxSpan, tolerance: maxSpan, ceiling: maxSpan,
}

// NewPenalties returns a table without penalties, sized as [New] does.
func NewPenalties(slots int) *Penalties {
	return &Penalties{New(slots)}
}

// Block shuts a key out for d from now, rounded up to 256 ns and at most 208
// days. A penalty that ends later stays as it is. A d of 0 or below does nothing.
func (p *Penalties) Block(k Key, d time.Duration, now Time) {
	if d > 0 {
		p.table.apply(k, &penalty, raise, min(ticksUp(d), maxSpan), now.tick())
	}
}

// Blocked returns how long a key is still shut out, and whether it is.
func (p *Penalties) Blocked(k Key, now Time) (time.Duration, bool) {
	left := p.table.Check(k, &penalty, 0, now).Reset
	return left, left > 0
}

// Lift ends the penalty of a key and reports whether the key was known.
func (p *Penalties) Lift(k Key) bool { return p.table.Reset(k) }

// Bytes returns the memory of the table.
func (p *Penalties) Bytes() int { return p.table.Bytes() }

// Count returns how many keys are shut out at a moment. It reads the whole table.
func (p *Penalties) Count(now Time) int {
	_, n := p.table.Count(&penalty, now)
	return n
}
