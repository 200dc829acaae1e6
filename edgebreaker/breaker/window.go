package breaker

import "time"

// counts are those of a window. They are about requests of all handlers; timed are
// those of handlers with a rule for slow calls.
type counts struct{ answered, failed, timed, slow int }

type slot struct{ answered, failed, timed, slow uint32 }

const (
	slots     = 128
	fineSlot  = 250 * time.Millisecond
	roughSlot = 5 * time.Second
	// fineWindow is the longest that the fine ring serves.
	fineWindow = 30 * time.Second
)

// ring counts by time, in slots of the same width. Writing clears the slots that
// the time passed over.
type ring struct {
	head  int64 // number of the newest slot
	slots [slots]slot
}

func (r *ring) slot(n int64) *slot {
	if n != r.head {
		for i := max(r.head+1, n-slots+1); i <= n; i++ {
			r.slots[wrap(i, slots)] = slot{}
		}
		r.head = n
	}
	return &r.slots[wrap(n, slots)]
}

// sum adds the newest n slots up.
func (r *ring) sum(n int64) (c counts) {
	for i := r.head - n + 1; i <= r.head; i++ {
		s := &r.slots[wrap(i, slots)]
		c.answered += int(s.answered)
		c.failed += int(s.failed)
		c.timed += int(s.timed)
		c.slow += int(s.slow)
	}
	return c
}

// window counts results so that any window up to longestWindow can be looked at,
// since each handler has its own. It is two rings: one for windows up to
// fineWindow, one for longer ones.
type window struct{ fine, rough ring }

func (w *window) slots(t int64) (fine, rough *slot) {
	return w.fine.slot(slotOf(t, fineSlot)), w.rough.slot(slotOf(t, roughSlot))
}

// answered counts a header, or a failure to get one.
func (w *window) answered(t int64, failed bool, took speed) {
	fine, rough := w.slots(t)
	fine.add(failed, took)
	rough.add(failed, took)
}

func (s *slot) add(failed bool, took speed) {
	s.answered++
	if failed {
		s.failed++
	}
	if took != untimed {
		s.timed++
	}
	if took == slow {
		s.slow++
	}
}

// broke counts a failure of which the header was counted.
func (w *window) broke(t int64) {
	fine, rough := w.slots(t)
	fine.failed++
	rough.failed++
}

// sum returns what happened in the last d, less up to the width of a slot.
func (w *window) sum(t int64, d time.Duration) counts {
	w.slots(t)
	if d <= fineWindow {
		return w.fine.sum(int64(max(d/fineSlot, 1)))
	}
	return w.rough.sum(int64(min(d/roughSlot, slots)))
}

func (w *window) clear() { *w = window{} }
