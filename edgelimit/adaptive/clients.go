package adaptive

import "math"

// clientTable remembers what each client used, in a fixed number of entries.
// Entries are found by hash in sets of 8; when a set is full the client that
// matters least leaves. A flood of fresh clients therefore cannot make the table
// forget a greedy one.
type clientTable struct {
	entries []clientEntry // a power of two of them
	mask    uint64
	holders [holdings]int // clients by what they hold
}

// clientEntry is one client. Its usage is the exponentially weighted average of
// the slots it held, brought up to date by advance.
type clientEntry struct {
	key   uint64
	usage float64
	at    int64           // ns, the time of usage
	held  [holdings]int32 // now; nothing under holdsNothing
	gen   uint32
	left  uint32 // the last window in which it left impatiently
}

// clientRef points to an entry for as long as its generation lasts.
type clientRef struct {
	index uint32
	gen   uint32
}

const (
	clientEntries = 8192 // 384 KiB
	clientWays    = 8
	usageHalfLife = 5e9 // ns
	usageDecay    = math.Ln2 / usageHalfLife
)

func newClientTable(size int) clientTable {
	n := clientWays
	for n < size {
		n *= 2
	}
	return clientTable{entries: make([]clientEntry, n), mask: uint64(n/clientWays - 1)}
}

// mixed spreads the bits of a key, so that callers may hand in numbers as well
// as hashes.
func mixed(key uint64) uint64 {
	key ^= key >> 30
	key *= 0xbf58476d1ce4e5b9
	key ^= key >> 27
	key *= 0x94d049bb133111eb
	return key ^ key>>31
}

// advance brings the usage up to time t. With the slots constant since then, the
// average goes exponentially towards their number.
func (e *clientEntry) advance(t int64) {
	if t > e.at {
		slots := float64(e.held[holdsSlot])
		e.usage = slots + (e.usage-slots)*decay(float64(t-e.at)*usageDecay)
		e.at = t
	}
}

// decay is exp(-x) for x above 0. Most steps are short, and for them two terms of
// the series are within 2e-7 at a fraction of the cost.
func decay(x float64) float64 {
	if x < 0.01 {
		return 1 - x + x*x/2
	}
	return math.Exp(-x)
}

// weight says how much it would harm to forget the client.
func (e *clientEntry) weight() float64 {
	return e.usage + float64(e.held[holdsSlot]+e.held[holdsUpload]+e.held[holdsStream])
}

func (c *clientTable) set(key uint64) (first uint64) {
	return (mixed(key) >> 32 & c.mask) * clientWays
}

// find returns the entry of the client, up to date, or nil.
func (c *clientTable) find(key uint64, t int64) *clientEntry {
	first := c.set(key)
	for i := first; i < first+clientWays; i++ {
		if e := &c.entries[i]; e.key == key {
			e.advance(t)
			return e
		}
	}
	return nil
}

// take returns the entry of the client, in place of a lesser one if it had none.
func (c *clientTable) take(key uint64, t int64) (*clientEntry, clientRef) {
	first := c.set(key)
	least, leastWeight := first, math.Inf(1)
	for i := first; i < first+clientWays; i++ {
		e := &c.entries[i]
		if e.key == key {
			e.advance(t)
			return e, clientRef{uint32(i), e.gen}
		}
		if w := e.weight(); w > 0 {
			e.advance(t)
		}
		if w := e.weight(); w < leastWeight {
			least, leastWeight = i, w
		}
	}
	e := &c.entries[least]
	for kind, n := range e.held {
		if n > 0 {
			c.holders[kind]--
		}
	}
	*e = clientEntry{key: key, at: t, gen: e.gen + 1}
	return e, clientRef{uint32(least), e.gen}
}

// add changes how many of a kind the client holds. For a client that was forgotten
// meanwhile it does nothing and reports false.
func (c *clientTable) add(ref clientRef, t int64, kind holding, n int32) bool {
	e := &c.entries[ref.index]
	if e.gen != ref.gen {
		return false
	}
	e.advance(t)
	before := e.held[kind]
	e.held[kind] += n
	switch {
	case before == 0 && n > 0:
		c.holders[kind]++
	case before > 0 && before+n == 0:
		c.holders[kind]--
	}
	return true
}

// leaves notes that the client left impatiently in a window, whose number is not
// 0, and reports whether it is the first time.
func (c *clientTable) leaves(ref clientRef, window uint32) bool {
	e := &c.entries[ref.index]
	if e.gen != ref.gen {
		return true
	}
	first := e.left != window
	e.left = window
	return first
}

// charge adds the time (ns) for which a slot was held to the usage at once. It
// is for clients that were forgotten while they held one.
func (c *clientTable) charge(key uint64, t, heldFor int64) {
	e, _ := c.take(key, t)
	e.usage += float64(heldFor) * usageDecay
}

// usages appends what the clients use at time t.
func (c *clientTable) usages(to []float64, t int64) []float64 {
	for i := range c.entries {
		if e := &c.entries[i]; e.weight() > 0 {
			e.advance(t)
			to = append(to, e.usage)
		}
	}
	return to
}
