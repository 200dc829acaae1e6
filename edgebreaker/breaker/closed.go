package breaker

import "time"

// closed counts what may open the backend.
type closed struct {
	at int64 // since when it is closed; never: from the beginning
	// Two runs of consecutive failures. A good header ends the first; the second
	// ends with a good end, which for streams comes late. With a single run that
	// ends at the end, a few failures among many long streams would open; with one
	// that ends at the header, a backend that breaks off every body never would.
	headers, bodies int
	window          *window // nil until a handler with a ratio comes
}

func (s *closed) run() int { return max(s.headers, s.bodies) }

// becomeClosed starts afresh.
func (b *Backend) becomeClosed(now time.Time, t int64, reason Reason) Change {
	change := b.changed(now, Closed, reason)
	b.closed.at = t
	b.closed.headers, b.closed.bodies = 0, 0
	if b.closed.window != nil {
		b.closed.window.clear()
	}
	b.gate.Store(gateOpen)
	return change
}

// verdict is a reason to open, if it has one, and the share that is the reason.
type verdict struct {
	reason Reason
	ratio  float64
}

// openIf opens for a reason, if there is one.
func (b *Backend) openIf(v verdict, now time.Time, t int64, c *Config) Change {
	if v.reason == NoReason {
		return Change{}
	}
	run := b.closed.run()
	change := b.becomeOpen(now, t, c, v.reason)
	change.Failures, change.Ratio = run, v.ratio
	return change
}

// answered judges a header, or its absence.
func (s *closed) answered(t int64, c *Config, o Outcome, took speed) verdict {
	if s.window != nil {
		s.window.answered(t, o == Failure, took)
	}
	if o == Failure {
		s.headers++
	} else {
		s.headers = 0
	}
	if o == Failure || took == slow {
		return s.judge(t, c)
	}
	return verdict{}
}

// broke judges a failure after a good header.
func (s *closed) broke(t int64, c *Config) verdict {
	if s.window != nil {
		s.window.broke(t)
	}
	s.bodies++
	return s.judge(t, c)
}

// succeeded notes a good end. The header, which may have come long ago, has had its
// say, unless nobody could tell yet what it was worth.
func (s *closed) succeeded(untold bool) {
	s.bodies = 0
	if untold {
		s.headers = 0
	}
}

func (s *closed) judge(t int64, c *Config) verdict {
	if c.Failures > 0 && s.run() >= c.Failures {
		return verdict{reason: ConsecutiveFailures}
	}
	if !c.ratios() {
		return verdict{}
	}
	n := s.window.sum(t, c.Window)
	// A failure after the header may be in the window when its header is not.
	requests := max(n.answered, n.failed)
	if c.FailureRatio > 0 && requests >= c.FailureMinRequests {
		if ratio := float64(n.failed) / float64(requests); ratio >= c.FailureRatio {
			return verdict{FailureRatio, ratio}
		}
	}
	if c.SlowRatio > 0 && n.timed >= c.SlowMinRequests {
		if ratio := float64(n.slow) / float64(n.timed); ratio >= c.SlowRatio {
			return verdict{SlowRatio, ratio}
		}
	}
	return verdict{}
}
