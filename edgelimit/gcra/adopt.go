package gcra

// Adopt has windows of another length go on with what the keys of a table have
// used: was is the limit by which from counted, is the one of t. What a window
// covers at the moment counts as used at the moment, so that nobody has a fresh
// budget, whether the window gets longer or shorter. A key that is in both tables
// keeps what is more.
//
// Tables of different sizes, and limits that are no windows, have nothing to do
// with one another: then it does nothing. It takes a lock per key in use; both
// tables may be in use meanwhile.
func (t *Table) Adopt(from *Table, was, is *Limit, now Time) {
	if len(t.sets) != len(from.sets) || was.algorithm != window || is.algorithm != window {
		return
	}
	// The counts of all levels, whatever each of them allows.
	old := *was
	old.deepest = maxCount
	tick := now.tick()
	index, _ := is.place(tick)
	for i := range from.sets {
		for j := range from.sets[i] {
			at := &from.sets[i][j]
			id := at.id.Load()
			val := at.val.Load()
			if id>>genBits == 0 || (id^val)&genMask != 0 || at.id.Load() != id {
				continue
			}
			load := old.readWindow(val>>genBits, tick).load(old.ticks)
			used := min((load+old.ticks-1)/old.ticks, maxCount)
			if used > 0 {
				t.raise(i, id>>genBits, packWindow(0, used, index), is, tick)
			}
		}
	}
}

// raise lifts what a key of a set of windows has used to a state.
func (t *Table) raise(number int, print, state uint64, l *Limit, now int64) {
	set, lock := &t.sets[number], &t.stripes[number&(len(t.stripes)-1)]
	for {
		at, val := set.find(print)
		if at == nil {
			if lock.bring(set, print, state, l, now) {
				return
			}
			continue
		}
		if l.debt(val>>genBits, now) >= l.debt(state, now) || at.val.CompareAndSwap(val, state<<genBits|val&genMask) {
			return
		}
	}
}
