package breaker

import "time"

// Attempt is one request on its way to a backend. It must not be copied once a
// method was called; the methods may be called by several goroutines, and do
// nothing on the zero Attempt.
//
// An attempt says one thing: a failure at or after the header, a success at the
// end, or nothing. It says it to the state in which it began. If that has changed
// since, it only counts in Active and in the statistics.
type Attempt struct {
	backend *Backend
	config  *Config // nil: not judged
	epoch   uint32
	probe   bool
	slot    uint32 // the period in which a probe took its slot

	// Guarded by the backend's lock.
	answered, said, ended, yielded bool
	untold                         bool // what the header was worth
}

// Backend returns the backend that is asked; nil for the zero Attempt.
func (a *Attempt) Backend() *Backend { return a.backend }

// Probe reports whether it began as a probe of a half-open backend.
func (a *Attempt) Probe() bool { return a.probe }

// Header says that the first final header came, latency after the request was sent
// whole, and what it is worth. The probe's slot is free from here on, whatever
// follows. A Failure is counted at once; of a Success only that there was a good
// header. When the deadline for the header passes, Header(now, waited, Failure)
// makes the time count as a latency too. Only the first call counts.
func (a *Attempt) Header(now time.Time, latency time.Duration, o Outcome) Change {
	b := a.backend
	if b == nil {
		return Change{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.answered || a.ended {
		return Change{}
	}
	t := b.clock.at(now)
	a.release()
	a.answered = true
	if o == Ignored {
		a.untold = true
		return Change{}
	}
	if o == Failure && a.observes() {
		b.open.observed(o)
	}
	b.stats.latency.record(t, latency)
	if a.epoch == b.epoch {
		b.peak.record(t, latency, o == Failure)
	}
	if o == Failure {
		a.said = true
	} else {
		b.good = max(b.good, t-int64(latency))
	}
	b.stats.answered(t, o == Failure)
	return a.judgeHeader(now, t, o, speedOf(latency, a.config))
}

// Streaming says that the response has been streamed for long enough to count as a
// success. The attempt stays active; what comes later is not judged.
func (a *Attempt) Streaming(now time.Time) Change {
	b := a.backend
	if b == nil {
		return Change{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.ended {
		return Change{}
	}
	a.release()
	change := a.say(now, b.clock.at(now), Success)
	a.answered = true
	return change
}

// Yield gives the slot of a probe back before the header has come, for one that the
// client keeps waiting: others may probe meanwhile. The attempt goes on, and is judged
// like before.
func (a *Attempt) Yield() {
	b := a.backend
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	a.release()
	a.yielded = true
}

// End says that the exchange is over, and what it was worth: Success when it came to
// a good end, Failure when there was no header or the body broke off, Ignored when
// that was the client's doing. It belongs in a defer; only the first call counts.
func (a *Attempt) End(now time.Time, o Outcome) Change {
	b := a.backend
	if b == nil {
		return Change{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.ended {
		return Change{}
	}
	a.release()
	a.ended = true
	b.active.Add(-1)
	return a.say(now, b.clock.at(now), o)
}

// judged reports whether the attempt counts in the present state.
func (a *Attempt) judged() bool {
	return a.config != nil && a.epoch == a.backend.epoch && a.backend.mode == Auto
}

// observes reports whether the attempt tells how an open backend does that is used
// nevertheless.
func (a *Attempt) observes() bool {
	b := a.backend
	return a.config == nil && a.epoch == b.epoch && b.state == Open
}

// release gives the slot of a probe back, once.
func (a *Attempt) release() {
	if b := a.backend; a.probe && !a.yielded && !a.answered && !a.ended && a.epoch == b.epoch {
		b.halfOpen.free(a.slot)
	}
}

// judgeHeader judges a header, or the failure to get one.
func (a *Attempt) judgeHeader(now time.Time, t int64, o Outcome, took speed) Change {
	if !a.judged() {
		return Change{}
	}
	b, c := a.backend, a.config
	if b.state == Closed {
		return b.openIf(b.closed.answered(t, c, o, took), now, t, c)
	}
	if o == Failure {
		return b.becomeOpen(now, t, c, ProbeFailed)
	}
	b.halfOpen.answered(took)
	return Change{}
}

// say counts the one thing that an attempt says.
func (a *Attempt) say(now time.Time, t int64, o Outcome) Change {
	if a.said {
		return Change{}
	}
	a.said = true
	if o == Ignored {
		return Change{}
	}
	b, c := a.backend, a.config
	if a.observes() {
		b.open.observed(o)
	}
	if !a.answered {
		b.stats.answered(t, o == Failure)
		if change := a.judgeHeader(now, t, o, untimed); o == Failure {
			return change
		}
	} else if o == Failure {
		b.stats.broke(t)
	}
	switch {
	case !a.judged():
		return Change{}
	case b.state == Closed && o == Failure:
		return b.openIf(b.closed.broke(t, c), now, t, c)
	case b.state == Closed:
		b.closed.succeeded(a.untold)
		return Change{}
	case o == Failure:
		return b.becomeOpen(now, t, c, ProbeFailed)
	}
	return b.probeSucceeded(now, t, c)
}
