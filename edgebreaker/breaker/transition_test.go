package breaker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// in returns a backend that has just become what the name says, at start, and the
// rules; an hour passed before, so that nothing of it is left.
func in(t require.TestingT, state string) (*Backend, *Config) {
	c := rules()
	b := New("10.0.0.1:80", noJitter)
	switch state {
	case "closed":
	case "open":
		b = opened(t, c)
	case "half_open":
		b = opened(t, c)
		b.mu.Lock()
		b.becomeHalfOpen(start, ticks(start), OpenTimeOver)
		b.mu.Unlock()
	case "forced open":
		b.Force(start, ForceOpen)
	case "forced closed":
		b.Force(start, ForceClosed)
	}
	return b, c
}

// TestTransitions is the table of the package documentation.
func TestTransitions(t *testing.T) {
	later := start.Add(time.Hour)
	events := map[string]func(t *testing.T, b *Backend, c *Config) Change{
		"enter":       func(_ *testing.T, b *Backend, c *Config) Change { _, change, _ := b.Enter(start, c); return change },
		"enter later": func(_ *testing.T, b *Backend, c *Config) Change { _, change, _ := b.Enter(later, c); return change },
		"failures": func(t *testing.T, b *Backend, c *Config) Change {
			for range c.Failures - 1 {
				if change := attempt(b, c, Failure); change.Changed() {
					return change
				}
			}
			return attempt(b, c, Failure)
		},
		"successes": func(t *testing.T, b *Backend, c *Config) Change {
			for range c.Successes - 1 {
				require.False(t, attempt(b, c, Success).Changed())
			}
			return attempt(b, c, Success)
		},
		"ignored": func(t *testing.T, b *Backend, c *Config) Change {
			for range 100 {
				require.False(t, attempt(b, c, Ignored).Changed())
			}
			return Change{}
		},
		"force open":   func(_ *testing.T, b *Backend, _ *Config) Change { return b.Force(start, ForceOpen) },
		"force closed": func(_ *testing.T, b *Backend, _ *Config) Change { return b.Force(start, ForceClosed) },
		"auto":         func(_ *testing.T, b *Backend, _ *Config) Change { return b.Force(start, Auto) },
	}
	for _, c := range []struct {
		state, event string
		next         State
		reason       Reason // NoReason: nothing changes
	}{
		{"closed", "enter", Closed, NoReason},
		{"closed", "enter later", Closed, NoReason},
		{"closed", "failures", Open, ConsecutiveFailures},
		{"closed", "successes", Closed, NoReason},
		{"closed", "ignored", Closed, NoReason},
		{"closed", "force open", Open, Forced},
		{"closed", "force closed", Closed, Forced},
		{"closed", "auto", Closed, NoReason},
		{"open", "enter", Open, NoReason},
		{"open", "enter later", HalfOpen, OpenTimeOver},
		{"open", "failures", Open, NoReason},
		{"open", "successes", Open, NoReason},
		{"open", "force open", Open, Forced},
		{"open", "force closed", Closed, Forced},
		{"open", "auto", Open, NoReason},
		{"half_open", "enter", HalfOpen, NoReason},
		{"half_open", "enter later", HalfOpen, NoReason},
		{"half_open", "failures", Open, ProbeFailed},
		{"half_open", "successes", Closed, ProbesSucceeded},
		{"half_open", "ignored", HalfOpen, NoReason},
		{"half_open", "force open", Open, Forced},
		{"half_open", "force closed", Closed, Forced},
		{"half_open", "auto", HalfOpen, NoReason},
		{"forced open", "enter later", Open, NoReason},
		{"forced open", "failures", Open, NoReason},
		{"forced open", "force closed", Closed, Forced},
		{"forced open", "auto", HalfOpen, Forced},
		{"forced closed", "failures", Closed, NoReason},
		{"forced closed", "successes", Closed, NoReason},
		{"forced closed", "force open", Open, Forced},
		{"forced closed", "auto", Closed, Forced},
	} {
		t.Run(c.state+" "+c.event, func(t *testing.T) {
			b, rules := in(t, c.state)
			from := b.State()
			change := events[c.event](t, b, rules)
			require.Equal(t, c.next, b.State())
			require.Equal(t, c.reason, change.Reason)
			require.Equal(t, c.reason != NoReason, change.Changed())
			if change.Changed() {
				require.Equal(t, [2]State{from, c.next}, [2]State{change.From, change.To})
				require.Same(t, b, change.Backend)
			}
		})
	}
}

// attempt is an exchange that may be refused.
func attempt(b *Backend, c *Config, o Outcome) Change {
	a, change, ok := b.Enter(start, c)
	if !ok || change.Changed() {
		return change
	}
	if change := a.Header(start, time.Millisecond, o); change.Changed() {
		a.End(start, o)
		return change
	}
	return a.End(start, o)
}

// TestResultsOfAnotherEpochDoNotCount lets attempts end in each state that came
// after theirs.
func TestResultsOfAnotherEpochDoNotCount(t *testing.T) {
	due := start.Add(time.Minute)
	for _, o := range []Outcome{Success, Failure, Ignored} {
		t.Run(o.String(), func(t *testing.T) {
			c := rules()
			c.Probes = 100
			finish := func(b *Backend, attempts []*Attempt) {
				before := b.Status(due)
				for i, a := range attempts {
					if i%2 == 0 { // with and without a header
						require.False(t, a.Header(due, time.Minute, o).Changed())
					}
					require.False(t, a.End(due, o).Changed())
				}
				after := b.Status(due)
				require.Equal(t, before.State, after.State)
				require.Equal(t, before.Probes, after.Probes, "slots of others stay taken")
				require.Equal(t, before.Successes, after.Successes)
				require.Equal(t, before.OpenUntil, after.OpenUntil)
				require.Equal(t, before.Latency, after.Latency)
				require.Equal(t, before.ConsecutiveFailures, after.ConsecutiveFailures)
				require.Equal(t, before.Active-len(attempts), after.Active)
			}
			many := func(b *Backend, now time.Time, n int) (list []*Attempt) {
				for range n {
					list = append(list, mustEnter(t, b, now, c))
				}
				return list
			}

			b := New("", noJitter)
			closedEra := [][]*Attempt{many(b, start, 10), many(b, start, 10), many(b, start, 10)}
			for range 5 {
				exchange(t, b, start, c, Failure)
			}
			require.Equal(t, Open, b.State())
			finish(b, closedEra[0])

			probes := many(b, due, 10)
			require.Equal(t, HalfOpen, b.State())
			finish(b, closedEra[1])
			require.Equal(t, 10, b.Status(due).Probes)

			for range c.Successes {
				exchange(t, b, due, c, Success)
			}
			require.Equal(t, Closed, b.State())
			finish(b, closedEra[2])
			finish(b, probes)
			require.Zero(t, b.Active())
		})
	}
}

// TestProbesOfAnEarlierHalfOpenFreeNothing: their slots went with their epoch.
func TestProbesOfAnEarlierHalfOpenFreeNothing(t *testing.T) {
	b, c := in(t, "half_open")
	c.Probes = 2
	old := mustEnter(t, b, start, c)
	require.Equal(t, ProbeFailed, exchange(t, b, start, c, Failure).Reason)
	now := start.Add(time.Hour)
	mustEnter(t, b, now, c)
	mustEnter(t, b, now, c)
	old.Header(now, time.Hour, Success)
	old.End(now, Success)
	require.False(t, b.Ready(now, c))
	require.Equal(t, 2, b.Status(now).Probes)
	require.Zero(t, b.Status(now).Successes)
}

// TestOneProbeAtATimeCloses is the case that others wedge in: a cap below the
// number of successes.
func TestOneProbeAtATimeCloses(t *testing.T) {
	b, c := in(t, "half_open")
	c.Probes = 1
	for n := range 3 {
		a := mustEnter(t, b, start, c)
		require.False(t, b.Ready(start, c))
		_, _, ok := b.Enter(start, c)
		require.False(t, ok)
		a.Header(start, time.Millisecond, Success)
		require.True(t, b.Ready(start, c), "the slot is free from the header on")
		require.Equal(t, n == 2, a.End(start, Success).Changed())
	}
	require.Equal(t, Closed, b.State())
}

func TestStreamsAsProbes(t *testing.T) {
	b, c := in(t, "half_open")
	c.Probes = 1
	var streams []*Attempt
	for range 3 {
		a := mustEnter(t, b, start, c)
		require.False(t, a.Header(start, time.Millisecond, Success).Changed())
		streams = append(streams, a)
	}
	require.Zero(t, b.Status(start).Successes)
	now := start.Add(5 * time.Second)
	require.False(t, streams[0].Streaming(now).Changed())
	require.False(t, streams[0].Streaming(now).Changed(), "it counts once")
	require.Equal(t, 1, b.Status(now).Successes)
	require.False(t, streams[1].Streaming(now).Changed())
	require.Equal(t, ProbesSucceeded, streams[2].Streaming(now).Reason)
	require.Equal(t, 3, b.Active(), "streams stay active")
	for _, a := range streams {
		require.False(t, a.End(now.Add(time.Hour), Failure).Changed(), "what comes later is not judged")
	}
	require.Zero(t, b.Active())
	require.Equal(t, Closed, b.State())
}

// TestSlowUploadsDoNotWedge lets clients hold all slots for ever.
func TestSlowUploadsDoNotWedge(t *testing.T) {
	b, c := in(t, "half_open")
	c.Probes, c.Successes = 2, 1
	uploads := []*Attempt{mustEnter(t, b, start, c), mustEnter(t, b, start, c)}
	require.False(t, b.Ready(start.Add(probeLease-1), c))
	require.False(t, b.Ready(start.Add(2*probeLease-1), c))
	now := start.Add(2 * probeLease)
	require.True(t, b.Ready(now, c))
	next := mustEnter(t, b, now, c)
	uploads[0].End(now, Ignored)
	require.Equal(t, 1, b.Status(now).Probes, "a slot that went is not given back again")
	require.False(t, next.Header(now, time.Millisecond, Success).Changed())
	require.Equal(t, ProbesSucceeded, uploads[1].End(now, Success).Reason, "it may still say something")
}

func TestSlowProbesOpenAgain(t *testing.T) {
	for slowOnes, next := range []State{Closed, Closed, Open, Open} {
		b, c := in(t, "half_open")
		c.SlowRatio, c.Slow = 0.5, time.Second
		var change Change
		for i := range 3 {
			latency := time.Millisecond
			if i < slowOnes {
				latency = time.Second
			}
			a := mustEnter(t, b, start, c)
			require.False(t, a.Header(start, latency, Success).Changed())
			change = a.End(start, Success)
		}
		require.Equal(t, next, change.To, "%d slow of 3", slowOnes)
		if next == Open {
			require.Equal(t, SlowRatio, change.Reason)
			require.InDelta(t, float64(slowOnes)/3, change.Ratio, 1e-9)
			require.Equal(t, time.Minute, change.OpenFor)
		}
	}
}

// TestConsecutiveFailures has the two runs: until the header, and after it.
func TestConsecutiveFailures(t *testing.T) {
	type step struct{ header, end Outcome }
	const none = Outcome(99) // no header
	for _, c := range []struct {
		name  string
		steps []step // repeated
		opens int    // with which attempt; 0: not
	}{
		{"bad status", []step{{Failure, Failure}}, 5},
		{"bad status, and the handler ended well", []step{{Failure, Success}}, 5},
		{"bad status, and the client left", []step{{Failure, Ignored}}, 5},
		{"no header", []step{{none, Failure}}, 5},
		{"reset in the body", []step{{Success, Failure}}, 5},
		{"header ignored, reset in the body", []step{{Ignored, Failure}}, 5},
		{"client leaves before", []step{{none, Ignored}}, 0},
		{"client leaves in the body", []step{{Success, Ignored}}, 0},
		{"every fifth is good", []step{{Failure, Failure}, {Failure, Failure}, {none, Failure}, {Failure, Failure}, {Success, Success}}, 0},
		{"every sixth is good", []step{{Failure, Failure}, {Failure, Failure}, {none, Failure}, {Failure, Failure}, {Failure, Failure}, {Success, Success}}, 5},
		{"ignored ones do not end a run", []step{{Failure, Failure}, {none, Ignored}}, 9},
		{"bad status and reset in turn", []step{{Failure, Failure}, {Success, Failure}}, 10},
		{"a good exchange without a header", []step{{Failure, Failure}, {Failure, Failure}, {none, Success}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := New("", noJitter)
			opens := 0
			for n := range 100 {
				s := c.steps[n%len(c.steps)]
				a, _, ok := b.Enter(start, rules())
				if !ok {
					break
				}
				var header Change
				if s.header != none {
					header = a.Header(start, time.Millisecond, s.header)
				}
				if end := a.End(start, s.end); header.Changed() || end.Changed() {
					opens = n + 1
				}
			}
			require.Equal(t, c.opens, opens)
		})
	}
}

// TestFewFailuresAmongStreamsStayFew: the successes of streams come late.
func TestFewFailuresAmongStreamsStayFew(t *testing.T) {
	c := rules()
	c.FailureRatio, c.FailureMinRequests = 0.5, 20
	b := New("", noJitter)
	for n := range 1000 {
		now := start.Add(time.Duration(n) * time.Millisecond)
		a := mustEnter(t, b, now, c)
		if n%10 == 9 {
			require.False(t, a.Header(now, time.Millisecond, Failure).Changed())
			require.False(t, a.End(now, Failure).Changed())
			continue
		}
		require.False(t, a.Header(now, time.Millisecond, Success).Changed())
	}
	require.Equal(t, Closed, b.State())
}

func TestEachIsCountedOnce(t *testing.T) {
	b, c := in(t, "closed")
	a := mustEnter(t, b, start, c)
	for range 100 {
		a.Header(start, time.Millisecond, Failure)
		a.Streaming(start)
		a.End(start, Failure)
	}
	s := b.Status(start)
	require.Equal(t, 1, s.ConsecutiveFailures)
	require.Zero(t, s.Active)
	require.InDelta(t, 1, s.ErrorRatio, 0)

	var zero Attempt
	require.False(t, zero.Header(start, 0, Failure).Changed())
	require.False(t, zero.Streaming(start).Changed())
	require.False(t, zero.End(start, Failure).Changed())
	require.Nil(t, zero.Backend())
}

func TestObserveIsNotJudged(t *testing.T) {
	for _, state := range []string{"closed", "open", "half_open", "forced open"} {
		b, c := in(t, state)
		for range 100 {
			a := b.Observe(start)
			require.Equal(t, 1, b.Active())
			require.False(t, a.Probe())
			require.False(t, a.Header(start, time.Second, Failure).Changed())
			require.False(t, a.End(start, Failure).Changed())
		}
		s := b.Status(start)
		require.Zero(t, s.Active)
		require.InDelta(t, 1, s.ErrorRatio, 0.3)
		require.Zero(t, b.Latency(start), "what fails fast is not fast")
		good := b.Observe(start)
		require.False(t, good.Header(start, time.Second, Success).Changed())
		require.False(t, good.End(start, Success).Changed())
		require.Equal(t, time.Second, b.Latency(start))
		before, _ := in(t, state)
		require.Equal(t, before.State(), s.State)
		if state == "half_open" {
			require.Zero(t, s.Probes)
			require.True(t, b.Ready(start, c))
		}
	}
}

// TestHandlersShareTheState: each attempt is judged by the rules that it came with.
func TestHandlersShareTheState(t *testing.T) {
	strict, lax := rules(), rules()
	strict.Failures, strict.Probes, strict.OpenFor = 3, 1, time.Second
	lax.Failures, lax.Probes, lax.Successes = 100, 5, 1
	b := New("", noJitter)
	for range 50 {
		require.False(t, exchange(t, b, start, lax, Failure).Changed())
	}
	change := exchange(t, b, start, strict, Failure)
	require.Equal(t, ConsecutiveFailures, change.Reason)
	require.Equal(t, 51, change.Failures)
	require.Equal(t, time.Second, change.OpenFor)
	now := start.Add(time.Second)
	for range 4 {
		mustEnter(t, b, now, lax)
	}
	require.False(t, b.Ready(now, strict), "the cap is the caller's, and all probes count")
	require.True(t, b.Ready(now, lax))
	require.False(t, exchange(t, b, now, lax, Ignored).Changed())
	require.Equal(t, ProbesSucceeded, exchange(t, b, now, lax, Success).Reason)
}

func TestForce(t *testing.T) {
	b, c := in(t, "closed")
	change := b.Force(start, ForceOpen)
	require.Equal(t, Change{Backend: b, From: Closed, To: Open, Mode: ForceOpen, Reason: Forced, At: start}, change)
	require.False(t, b.Force(start, ForceOpen).Changed())
	require.False(t, b.Ready(start.Add(1000*time.Hour), c))
	_, ok := b.NextProbe(start)
	require.False(t, ok)
	_, ok = b.EjectedAt()
	require.False(t, ok)
	require.Zero(t, b.Status(start).OpenUntil)
	require.Equal(t, start, b.Status(start).OpenedAt)

	change = b.Force(start, Auto)
	require.Equal(t, Change{Backend: b, From: Open, To: HalfOpen, Reason: Forced, At: start}, change)
	require.Equal(t, ProbeFailed, exchange(t, b, start, c, Failure).Reason)

	require.Equal(t, Closed, b.Force(start, ForceClosed).To)
	for range 100 {
		require.False(t, exchange(t, b, start, c, Failure).Changed())
	}
	require.Equal(t, Closed, b.Force(start, Auto).To)
	for range 4 {
		require.False(t, exchange(t, b, start, c, Failure).Changed(), "it counts afresh")
	}
	require.True(t, exchange(t, b, start, c, Failure).Changed())
}

func TestNextProbe(t *testing.T) {
	b, c := in(t, "open")
	for after, want := range map[time.Duration]time.Duration{
		0: c.OpenFor, 10 * time.Second: 20 * time.Second, c.OpenFor: 0, time.Hour: 0,
	} {
		d, ok := b.NextProbe(start.Add(after))
		require.True(t, ok)
		require.Equal(t, want, d)
	}
	for _, state := range []string{"closed", "half_open"} {
		b, _ := in(t, state)
		d, ok := b.NextProbe(start)
		require.True(t, ok)
		require.Zero(t, d)
	}
}

// TestTimeGoesBackwards: of two goroutines, the one that read the clock first may
// come last.
func TestTimeGoesBackwards(t *testing.T) {
	c := rules()
	c.FailureRatio, c.FailureMinRequests = 1, 1000
	b := New("", noJitter)
	for n := range 2000 {
		now := start.Add(time.Duration(n%7-3) * time.Hour)
		a := mustEnter(t, b, now, c)
		a.Header(now.Add(-time.Hour), -time.Hour, Success)
		a.End(now.Add(-2*time.Hour), Success)
		require.True(t, b.Ready(now, c))
		b.Recovered(now, now)
		require.GreaterOrEqual(t, b.Latency(now), time.Duration(0))
		share := b.Share(now, c)
		require.True(t, share > 0 && share <= 1)
	}
	b = opened(t, c)
	require.False(t, b.Ready(start.Add(-1000*time.Hour), c))
	_, _, ok := b.Enter(start.Add(-1000*time.Hour), c)
	require.False(t, ok)
	mustEnter(t, b, start.Add(c.OpenFor), c)
	require.Equal(t, HalfOpen, b.State())
	_, _, ok = b.Enter(start.Add(-1000*time.Hour), c)
	require.True(t, ok)
}

func TestNames(t *testing.T) {
	require.Equal(t, []string{"closed", "open", "half_open", "unknown"}, []string{Closed.String(), Open.String(), HalfOpen.String(), State(3).String()})
	require.Equal(t, "failure_ratio", FailureRatio.String())
	require.Equal(t, "forced", Forced.String())
	for _, m := range []Mode{Auto, ForceOpen, ForceClosed} {
		parsed, ok := ParseMode(m.String())
		require.True(t, ok)
		require.Equal(t, m, parsed)
	}
	_, ok := ParseMode("half_open")
	require.False(t, ok)
}

// TestYield: a probe that waits for its client lets others probe, and still counts.
func TestYield(t *testing.T) {
	b, c := in(t, "half_open")
	c.Probes, c.Successes = 1, 2
	slow, _, ok := b.Enter(start, c)
	require.True(t, ok)
	require.False(t, b.Ready(start, c))
	slow.Yield()
	slow.Yield()
	next, _, ok := b.Enter(start, c)
	require.True(t, ok)
	require.False(t, b.Ready(start, c), "one slot, not two")
	slow.Header(start, time.Millisecond, Success)
	require.False(t, b.Ready(start, c), "it has none to give back")
	require.False(t, slow.End(start, Success).Changed())
	next.Header(start, time.Millisecond, Success)
	require.Equal(t, Closed, next.End(start, Success).To, "both count")
	(&Attempt{}).Yield()
}
