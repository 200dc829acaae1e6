package breaker

import "time"

// Force gives the backend an operator's order, which holds until the next one.
// ForceOpen keeps everything out, ForceClosed lets everything through, at full
// weight at once. Auto after ForceOpen makes half-open, since nobody knows how the
// backend is by now; after ForceClosed it stays closed and counts afresh. An order
// that is in force already changes nothing. Otherwise the Change may have the same
// state on both sides: then only the mode changed.
func (b *Backend) Force(now time.Time, m Mode) Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m == b.mode {
		return Change{}
	}
	t := b.clock.at(now)
	was := b.mode
	b.mode = m
	switch {
	case m == ForceOpen:
		return b.becomeBlocked(now, t)
	case m == Auto && was == ForceOpen:
		return b.becomeHalfOpen(now, t, Forced)
	}
	b.rampAt.Store(never)
	return b.becomeClosed(now, t, Forced)
}

// Mode returns the operator's order in force.
func (b *Backend) Mode() Mode {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mode
}
