package gcra

import "time"

// Never is the RetryAfter of a cost that no waiting will make fit, because it is
// larger than the burst.
const Never time.Duration = -1

// Verdict is the answer to one question about a key.
type Verdict struct {
	// Allowed reports whether the cost fits.
	Allowed bool
	// Remaining is how many requests of cost 1 fit at this moment, after the
	// charge if there was one.
	Remaining int
	// RetryAfter is 0 if the cost fits, Never if it is larger than the burst, and
	// otherwise exactly how long it takes until the cost fits, if nothing else is
	// charged.
	RetryAfter time.Duration
	// Reset is how long it takes until the full burst is there again, if nothing
	// else is charged; 0 for an idle key.
	Reset time.Duration
}
