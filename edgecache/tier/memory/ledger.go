package memory

import "sync/atomic"

// Ledger counts bytes against a budget that Reserve never exceeds. All methods are
// safe for concurrent use and lock-free.
type Ledger struct {
	used   atomic.Int64
	peak   atomic.Int64
	budget atomic.Int64
}

// NewLedger returns an empty ledger for a budget in bytes.
func NewLedger(budget int64) *Ledger {
	l := new(Ledger)
	l.budget.Store(budget)
	return l
}

// Reserve takes n bytes and reports true, or reports false and takes nothing
// when they would exceed the budget. Reserving zero or less always succeeds and
// does nothing.
func (l *Ledger) Reserve(n int64) bool {
	if n <= 0 {
		return true
	}
	for {
		used := l.used.Load()
		// Not used+n > budget: a huge n must not overflow.
		if n > l.budget.Load()-used {
			return false
		}
		if l.used.CompareAndSwap(used, used+n) {
			l.raisePeak(used + n)
			return true
		}
	}
}

// Charge takes n bytes, which are in use already, whatever the budget says: nothing
// more is granted by Reserve until there is room again.
func (l *Ledger) Charge(n int64) { l.raisePeak(l.used.Add(n)) }

// Release gives back n bytes that were reserved or charged.
func (l *Ledger) Release(n int64) { l.used.Add(-n) }

// Used returns the bytes that are reserved now.
func (l *Ledger) Used() int64 { return l.used.Load() }

// Peak returns the most bytes that were ever reserved at the same time.
func (l *Ledger) Peak() int64 { return l.peak.Load() }

// Budget returns the bytes that may be reserved.
func (l *Ledger) Budget() int64 { return l.budget.Load() }

// SetBudget changes the budget. What is reserved beyond a smaller one stays so;
// nothing more is granted until enough has been released.
func (l *Ledger) SetBudget(n int64) { l.budget.Store(n) }

func (l *Ledger) raisePeak(used int64) {
	for {
		peak := l.peak.Load()
		if used <= peak || l.peak.CompareAndSwap(peak, used) {
			return
		}
	}
}
