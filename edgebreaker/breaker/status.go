package breaker

import "time"

// Status is a snapshot of a Backend.
type Status struct {
	Address string
	State   State
	Mode    Mode
	// Active counts the attempts under way, Probes those that hold a slot of the
	// half-open state.
	Active, Probes int
	// RPS is the rate of attempts that began, and ErrorRatio the share of failures
	// among those that were answered or failed, in the last 10 to 11 s.
	RPS, ErrorRatio float64
	// P50, P95 and P99 are those of the time to the header, within 6 %, in the last
	// 5 to 10 s. 0: there was none.
	P50, P95, P99 time.Duration
	// Latency is the peak EWMA that P2C goes by.
	Latency time.Duration
	// ConsecutiveFailures is the longer of the runs before and after the header,
	// Successes the number of probes that succeeded.
	ConsecutiveFailures, Successes int
	// OpenedAt is when it left the closed state, OpenUntil when it may be asked
	// again. Both are zero when closed, OpenUntil also when half-open or held open
	// by an operator.
	OpenedAt, OpenUntil time.Time
	// Reopens counts the openings since it was last closed for long.
	Reopens int
}

// Status returns a snapshot.
func (b *Backend) Status(now time.Time) Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.clock.at(now)
	s := Status{
		Address:             b.address,
		State:               b.state,
		Mode:                b.mode,
		Active:              b.Active(),
		Latency:             b.peak.value(t),
		ConsecutiveFailures: b.closed.run(),
		Reopens:             b.open.reopens,
	}
	s.RPS, s.ErrorRatio = b.stats.rates(t)
	s.P50, s.P95, s.P99 = b.stats.latency.quantiles(t)
	if b.state == HalfOpen {
		b.halfOpen.turn(t)
		s.Probes = b.halfOpen.held[0] + b.halfOpen.held[1]
		s.Successes = b.halfOpen.successes
	}
	if b.state != Closed {
		s.OpenedAt = now.Add(time.Duration(b.open.since - t))
	}
	if b.state == Open && b.mode != ForceOpen {
		s.OpenUntil = now.Add(time.Duration(b.open.until - t))
	}
	return s
}
