package breaker

import "time"

// State is what the breaker of a backend does.
type State uint8

const (
	// Closed lets everything through and counts failures.
	Closed State = iota
	// Open lets nothing through until its time is over.
	Open
	// HalfOpen lets a few probes through at a time.
	HalfOpen
)

var stateNames = [...]string{"closed", "open", "half_open"}

// String returns the name for logs, events and metrics.
func (s State) String() string { return name(stateNames[:], uint8(s)) }

// Outcome is what an attempt says about its backend.
type Outcome uint8

const (
	// Ignored says nothing: the client left, sent a broken body, and so on.
	Ignored Outcome = iota
	// Success says that the backend did what it should.
	Success
	// Failure says that it did not.
	Failure
)

var outcomeNames = [...]string{"ignored", "success", "failure"}

// String returns the name for logs and metrics.
func (o Outcome) String() string { return name(outcomeNames[:], uint8(o)) }

// Mode is what an operator ordered.
type Mode uint8

const (
	// Auto leaves the state to the results.
	Auto Mode = iota
	// ForceOpen keeps the backend out.
	ForceOpen
	// ForceClosed keeps it in, whatever it answers.
	ForceClosed
)

var modeNames = [...]string{"auto", "open", "closed"}

// String returns the name, as the admin API takes it.
func (m Mode) String() string { return name(modeNames[:], uint8(m)) }

// ParseMode returns the mode of a name.
func ParseMode(s string) (Mode, bool) {
	for i, n := range modeNames {
		if n == s {
			return Mode(i), true
		}
	}
	return Auto, false
}

// Reason is why a state changed.
type Reason uint8

const (
	// NoReason belongs to no change.
	NoReason Reason = iota
	// ConsecutiveFailures opens: Config.Failures were reached.
	ConsecutiveFailures
	// FailureRatio opens: Config.FailureRatio of the window was reached.
	FailureRatio
	// SlowRatio opens: Config.SlowRatio of the window, or of the probes, was reached.
	SlowRatio
	// ProbeFailed opens again: a probe failed.
	ProbeFailed
	// OpenTimeOver makes half-open.
	OpenTimeOver
	// ProbesSucceeded closes: Config.Successes were reached.
	ProbesSucceeded
	// Forced is an operator's order, or the end of one.
	Forced
)

var reasonNames = [...]string{
	"", "consecutive_failures", "failure_ratio", "slow_ratio",
	"probe_failed", "open_time_over", "probes_succeeded", "forced",
}

// String returns the name for logs, events and placeholders.
func (r Reason) String() string { return name(reasonNames[:], uint8(r)) }

// Change is a change of state. The zero Change is none. The caller logs it and
// emits events; no lock is held by then.
type Change struct {
	Backend  *Backend
	From, To State
	Mode     Mode
	Reason   Reason
	At       time.Time
	// OpenFor is how long it stays open. 0 when it did not open, or when an
	// operator holds it open.
	OpenFor time.Duration
	// Failures is the run of consecutive failures when a closed backend opens, and
	// Ratio the share of failures or slow calls for the reasons that have one.
	Failures int
	Ratio    float64
}

// Changed reports whether this is a change.
func (c Change) Changed() bool { return c.Backend != nil }

func name(names []string, i uint8) string {
	if int(i) >= len(names) {
		return "unknown"
	}
	return names[i]
}
