package breaker

import "time"

// probeLease is how long a probe keeps its slot at least if its header does not
// come; twice that at most. A client that sends its body slowly could otherwise
// hold the slots, and with them the backend, for hours.
const probeLease = 30 * time.Second

// halfOpen counts probes.
type halfOpen struct {
	// Slots are counted by the period of probeLease in which they were taken: in
	// this one and the one before. Older ones are free.
	period int64 // when this one began
	number uint32
	held   [2]int
	// What the probes of this epoch said.
	successes, timed, slow int
}

// becomeHalfOpen lets probes through.
func (b *Backend) becomeHalfOpen(now time.Time, t int64, reason Reason) Change {
	change := b.changed(now, HalfOpen, reason)
	b.halfOpen = halfOpen{period: t}
	b.gate.Store(gateProbes)
	return change
}

// turn lets old slots go.
func (s *halfOpen) turn(t int64) {
	passed := (t - s.period) / int64(probeLease)
	switch passed {
	case 0:
		return
	case 1:
		s.held = [2]int{0, s.held[0]}
	default:
		s.held = [2]int{}
	}
	s.period += passed * int64(probeLease)
	s.number += uint32(passed)
}

func (s *halfOpen) room(t int64, c *Config) bool {
	s.turn(t)
	return s.held[0]+s.held[1] < c.Probes
}

// take takes a slot. It returns the number of the period, for free.
func (s *halfOpen) take(t int64, c *Config) (uint32, bool) {
	if !s.room(t, c) {
		return 0, false
	}
	s.held[0]++
	return s.number, true
}

// free gives a slot back.
func (s *halfOpen) free(number uint32) {
	if age := s.number - number; age < 2 {
		s.held[age]--
	}
}

// answered notes how long a probe took.
func (s *halfOpen) answered(took speed) {
	if took != untimed {
		s.timed++
	}
	if took == slow {
		s.slow++
	}
}

// probeSucceeded counts a probe that ended well. The last one that was missing
// closes, and slow start begins, unless too many probes were slow.
func (b *Backend) probeSucceeded(now time.Time, t int64, c *Config) Change {
	s := &b.halfOpen
	s.successes++
	if s.successes < c.Successes {
		return Change{}
	}
	if c.SlowRatio > 0 && s.timed > 0 {
		if ratio := float64(s.slow) / float64(s.timed); ratio >= c.SlowRatio {
			change := b.becomeOpen(now, t, c, SlowRatio)
			change.Ratio = ratio
			return change
		}
	}
	change := b.becomeClosed(now, t, ProbesSucceeded)
	b.rampAt.Store(t)
	return change
}
