package breaker

import (
	"fmt"
	"math"
	"sync"
	"time"
)

// Budget bounds retries to a share of the requests, so that a failing backend is
// not buried under them: in the last 10 s no more retries than that share of the
// requests of the same time, or ten times a number per second if that is more. The
// latter is there from the start, when many requests may fail at once. It is safe
// for concurrent use; use NewBudget to make one.
type Budget struct {
	ratio float64
	floor int // in all seconds

	mu    sync.Mutex
	clock clock
	head  int64 // number of the newest second
	// Sums of all slots are kept, so that a look costs the same at any rate.
	slots             [budgetSeconds]budgetSlot
	requests, retries int
}

type budgetSlot struct{ requests, retries int }

const budgetSeconds = 10

// NewBudget returns a budget of a ratio, from 0 to 1, but of perSecond retries on the
// average of the 10 s in any case. Both may be 0: then there are no retries.
func NewBudget(ratio float64, perSecond int) (*Budget, error) {
	switch {
	case !(ratio >= 0 && ratio <= 1):
		return nil, fmt.Errorf("retry_budget must be from 0%% to 100%%, not %v%%", ratio*100)
	case perSecond < 0 || perSecond > math.MaxInt32/budgetSeconds:
		return nil, fmt.Errorf("retry_budget must allow 0 retries per second or more, not %d", perSecond)
	}
	b := &Budget{ratio: ratio, floor: perSecond * budgetSeconds}
	b.clock.last = never
	return b, nil
}

// Request counts a request, when it is sent for the first time.
func (b *Budget) Request(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slot(now).requests++
	b.requests++
}

// Retry reports whether a retry may be sent, and counts it then.
func (b *Budget) Retry(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.slot(now)
	if b.retries >= b.floor && float64(b.retries+1) > b.ratio*float64(b.requests) {
		return false
	}
	s.retries++
	b.retries++
	return true
}

// Unused gives back a retry that was not sent after all.
func (b *Budget) Unused(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.slot(now); s.retries > 0 {
		s.retries--
		b.retries--
	}
}

// slot returns the slot of the moment, and lets the time pass.
func (b *Budget) slot(now time.Time) *budgetSlot {
	n := slotOf(b.clock.at(now), time.Second)
	if n != b.head {
		for i := max(b.head+1, n-budgetSeconds+1); i <= n; i++ {
			s := &b.slots[wrap(i, budgetSeconds)]
			b.requests -= s.requests
			b.retries -= s.retries
			*s = budgetSlot{}
		}
		b.head = n
	}
	return &b.slots[wrap(n, budgetSeconds)]
}
