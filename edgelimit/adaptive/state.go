package adaptive

import "time"

// State tells at a glance what the limiter does.
type State uint8

const (
	// StateNormal means that the target is met and everybody is served.
	StateNormal State = iota
	// StateReducing means that the limit fell in the last 5 s, and nobody was
	// refused in that time.
	StateReducing
	// StateShedding means that somebody was refused in the last 5 s.
	StateShedding
	// StateRecovering means that neither has happened for 5 s, but did less
	// than 15 s ago.
	StateRecovering
)

var stateNames = [...]string{"normal", "reducing", "shedding", "recovering"}

// String returns the lower-case name for logs, events and metrics.
func (s State) String() string {
	if int(s) >= len(stateNames) {
		return "unknown"
	}
	return stateNames[s]
}

// Change is a change of state.
type Change struct {
	From, To State
	At       time.Time
	// Limit is the limit at that moment, P95 that of the last window.
	Limit int
	P95   time.Duration
}

const (
	stateHold    = int64(5e9)
	stateRecover = int64(15e9)
	never        = int64(-1 << 60)
)

// stateAt returns the state at time t, given when the limit last fell and when
// somebody was last refused (ns).
func stateAt(t, reduced, refused int64) State {
	switch {
	case t-refused < stateHold:
		return StateShedding
	case t-reduced < stateHold:
		return StateReducing
	case t-max(reduced, refused) < stateRecover:
		return StateRecovering
	}
	return StateNormal
}
