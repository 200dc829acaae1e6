package gcra

import "unsafe"

// Slots returns the number of keys the table can hold.
func (t *Table) Slots() int { return len(t.sets) * ways }

// Bytes returns the memory of the table, at most 17 bytes per slot.
func (t *Table) Bytes() int {
	return len(t.sets)*int(unsafe.Sizeof(set{})) + len(t.stripes)*int(unsafe.Sizeof(stripe{}))
}

// Evicted returns how many keys in debt had to go for others since the table was
// made. If it grows, the table is too small for its load.
func (t *Table) Evicted() uint64 {
	var n uint64
	for i := range t.stripes {
		n += t.stripes[i].evicted.Load()
	}
	return n
}

// Count returns how many slots hold a key, and how many of these keys owe
// something at a moment. It reads the whole table, about a millisecond per
// million bytes, and is approximate while the table is in use.
func (t *Table) Count(l *Limit, now Time) (used, indebted int) {
	tick := now.tick()
	for i := range t.sets {
		for j := range t.sets[i] {
			at := &t.sets[i][j]
			if at.id.Load()>>genBits == 0 {
				continue
			}
			used++
			if l.debt(at.val.Load()>>genBits, tick) > 0 {
				indebted++
			}
		}
	}
	return used, indebted
}
