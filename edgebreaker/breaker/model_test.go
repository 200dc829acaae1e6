package breaker

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// model is the breaker written down once more, without any thought of speed: it
// keeps every result and counts anew each time.
type model struct {
	state                 State
	mode                  Mode
	epoch                 int
	closedAt              int64
	headers, bodies       int
	failed                int      // in a row, of requests that were sent to an open backend nevertheless
	results               []result // since it was closed, and only once a rule needs them
	keeps                 bool
	since, until          int64
	lasts                 time.Duration
	reopens               int
	entered               int64 // when it became half-open
	successes             int
	probeTimed, probeSlow int
	attempts              []*modelAttempt
	ramp, good            int64
}

type result struct {
	at                            int64
	answered, failed, timed, slow int
}

type modelAttempt struct {
	real                  *Attempt
	config                *Config
	epoch                 int
	probe                 bool
	entered               int64
	answered, said, ended bool
	untold                bool
}

// holds reports whether a probe has its slot at time t. A lease ends with the
// period after the one in which it began; the periods follow one another as long as
// somebody looks.
func (m *model) holds(a *modelAttempt, t int64) bool {
	period := func(t int64) int64 { return (t - m.entered) / int64(probeLease) }
	return a.probe && a.epoch == m.epoch && !a.answered && !a.ended && period(t)-period(a.entered) < 2
}

func (m *model) held(t int64) (n int) {
	for _, a := range m.attempts {
		if m.holds(a, t) {
			n++
		}
	}
	return n
}

func (m *model) active() (n int) {
	for _, a := range m.attempts {
		if !a.ended {
			n++
		}
	}
	return n
}

// window sums what the slots of a window have.
func (m *model) window(t int64, d time.Duration) (c counts) {
	width, n := int64(fineSlot), int64(d/fineSlot)
	if d > fineWindow {
		width, n = int64(roughSlot), int64(d/roughSlot)
	}
	slot := func(t int64) int64 { return int64(math.Floor(float64(t) / float64(width))) }
	for _, r := range m.results {
		if slot(r.at) > slot(t)-n {
			c.answered += r.answered
			c.failed += r.failed
			c.timed += r.timed
			c.slow += r.slow
		}
	}
	return c
}

func (m *model) become(s State) {
	m.state = s
	m.epoch++
}

func (m *model) open(t int64, c *Config) {
	if m.state == Closed {
		m.failed = 0
	}
	switch {
	case m.state != Closed:
		m.reopens++
	case t-m.closedAt >= int64(m.lasts):
		m.reopens, m.since = 0, t
	default:
		m.reopens++
		m.since = t
	}
	m.lasts = min(time.Duration(float64(c.OpenFor)*math.Pow(2, float64(m.reopens))), c.MaxOpenFor)
	m.until = t + int64(m.lasts)
	m.ramp = never
	m.become(Open)
}

func (m *model) close(t int64) {
	m.closedAt, m.headers, m.bodies, m.results = t, 0, 0, nil
	m.become(Closed)
}

func (m *model) halfOpen(t int64) {
	m.entered, m.successes, m.probeTimed, m.probeSlow = t, 0, 0, 0
	m.become(HalfOpen)
}

func (m *model) judges(a *modelAttempt) bool {
	return a.config != nil && a.epoch == m.epoch && m.mode == Auto
}

func (m *model) add(r result) {
	if m.keeps {
		m.results = append(m.results, r)
	}
}

// trip opens if a rule of c says so.
func (m *model) trip(t int64, c *Config) {
	n := m.window(t, c.Window)
	all := max(n.answered, n.failed)
	switch {
	case c.Failures > 0 && max(m.headers, m.bodies) >= c.Failures:
	case c.FailureRatio > 0 && all >= c.FailureMinRequests && float64(n.failed)/float64(all) >= c.FailureRatio:
	case c.SlowRatio > 0 && n.timed >= c.SlowMinRequests && float64(n.slow)/float64(n.timed) >= c.SlowRatio:
	default:
		return
	}
	m.open(t, c)
}

func (m *model) enter(t int64, c *Config) bool {
	if m.state == Open && m.mode == Auto && t >= m.until {
		m.halfOpen(t)
	}
	switch m.state {
	case Closed:
		m.keeps = m.keeps || c.FailureRatio > 0 || c.SlowRatio > 0
		return true
	case HalfOpen:
		return m.held(t) < c.Probes
	default:
		return false
	}
}

func (m *model) header(a *modelAttempt, t int64, latency time.Duration, o Outcome) {
	if a.answered || a.ended {
		return
	}
	a.answered, a.untold = true, o == Ignored
	if o == Ignored {
		return
	}
	a.said = o == Failure
	if o == Failure && m.observes(a) {
		m.failed++
	}
	if o == Success {
		m.good = max(m.good, t-int64(latency))
	}
	m.answer(a, t, o, a.config != nil && a.config.SlowRatio > 0, a.config != nil && a.config.SlowRatio > 0 && latency >= a.config.Slow)
}

func (m *model) answer(a *modelAttempt, t int64, o Outcome, timed, slow bool) {
	if !m.judges(a) {
		return
	}
	r := result{at: t, answered: 1}
	if timed {
		r.timed = 1
	}
	if slow {
		r.slow = 1
	}
	if o == Failure {
		r.failed = 1
	}
	if m.state == HalfOpen {
		if o == Failure {
			m.open(t, a.config)
			return
		}
		m.probeTimed += r.timed
		m.probeSlow += r.slow
		return
	}
	m.add(r)
	m.headers = (m.headers + 1) * r.failed
	if o == Failure || slow {
		m.trip(t, a.config)
	}
}

func (m *model) say(a *modelAttempt, t int64, o Outcome) {
	if a.said {
		return
	}
	a.said = true
	if o == Ignored {
		return
	}
	if m.observes(a) {
		m.failed = (m.failed + 1) * failed(o)
	}
	if !a.answered {
		m.answer(a, t, o, false, false)
		if o == Failure {
			return
		}
	}
	if !m.judges(a) {
		return
	}
	switch {
	case m.state == HalfOpen && o == Failure:
		m.open(t, a.config)
	case m.state == HalfOpen:
		m.successes++
		if m.successes < a.config.Successes {
			return
		}
		if a.config.SlowRatio > 0 && m.probeTimed > 0 && float64(m.probeSlow)/float64(m.probeTimed) >= a.config.SlowRatio {
			m.open(t, a.config)
			return
		}
		m.close(t)
		m.ramp = t
	case o == Failure:
		m.add(result{at: t, failed: 1})
		m.bodies++
		m.trip(t, a.config)
	default:
		m.bodies = 0
		if a.untold {
			m.headers = 0
		}
	}
}

// observes reports whether an attempt was sent to an open backend nevertheless.
func (m *model) observes(a *modelAttempt) bool {
	return a.config == nil && a.epoch == m.epoch && m.state == Open
}

func failed(o Outcome) int {
	if o == Failure {
		return 1
	}
	return 0
}

func (m *model) force(t int64, mode Mode) {
	was := m.mode
	if mode == was {
		return
	}
	m.mode = mode
	switch {
	case mode == ForceOpen:
		if m.state == Closed {
			m.since, m.failed = t, 0
		}
		m.ramp = never
		m.become(Open)
	case mode == Auto && was == ForceOpen:
		m.halfOpen(t)
	default:
		m.ramp = never
		m.close(t)
	}
}

// modelConfigs are handlers that share the backend.
var modelConfigs = []*Config{
	{Failures: 2, Successes: 3, Probes: 1, OpenFor: 4 * time.Second, MaxOpenFor: 20 * time.Second},
	{Failures: 4, Successes: 1, Probes: 3, OpenFor: 10 * time.Second, MaxOpenFor: time.Minute, Ramp: Ramp{Linear: time.Minute}},
	{FailureRatio: 0.5, FailureMinRequests: 4, Window: 5 * time.Second, Successes: 2, Probes: 2, OpenFor: time.Second, MaxOpenFor: time.Second},
	{
		SlowRatio: 0.4, SlowMinRequests: 3, Slow: time.Second, FailureRatio: 0.8, FailureMinRequests: 5,
		Window: time.Minute, Successes: 3, Probes: 2, OpenFor: 30 * time.Second, MaxOpenFor: time.Minute,
	},
	{Successes: 1, Probes: 1, OpenFor: time.Second, MaxOpenFor: time.Second},
}

// TestModel drives a backend and its model through the same interleavings, and
// compares everything that can be seen after each step.
func TestModel(t *testing.T) {
	for _, c := range modelConfigs {
		require.NoError(t, c.Validate())
	}
	visits := make(map[[2]State]int)
	rapid.Check(t, func(t *rapid.T) {
		b := New("", noJitter)
		m := &model{closedAt: never, ramp: never, good: never}
		now := start
		configs := rapid.SliceOfNDistinct(rapid.SampledFrom(modelConfigs), 1, 3, rapid.ID[*Config]).Draw(t, "handlers")
		config := rapid.SampledFrom(configs)
		// Most steps take no time; some take longer than anything lasts.
		pass := rapid.OneOf(
			rapid.Just(time.Duration(0)), rapid.Just(time.Duration(0)), rapid.Just(time.Duration(0)), rapid.Just(time.Duration(0)),
			rapid.Map(rapid.IntRange(0, 3000), func(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }),
			rapid.Map(rapid.IntRange(0, 100), func(s int) time.Duration { return time.Duration(s) * time.Second }),
		)
		outcome := rapid.SampledFrom(rapid.SampledFrom([][]Outcome{
			{Success, Success, Success, Failure, Ignored},
			{Success, Success, Success, Success, Success, Success, Success, Failure, Ignored},
			{Failure, Failure, Failure, Success, Ignored},
		}).Draw(t, "mood"))
		pickOne := func(t *rapid.T) *modelAttempt {
			if len(m.attempts) == 0 {
				a := b.Observe(now)
				m.attempts = append(m.attempts, &modelAttempt{real: &a, epoch: m.epoch})
			}
			return rapid.SampledFrom(m.attempts).Draw(t, "attempt")
		}
		step := func(f func(t *rapid.T, at int64)) func() {
			return func() {
				if len(m.attempts) > 6 { // ended ones only make the run longer
					m.attempts = slices.DeleteFunc(m.attempts, func(a *modelAttempt) bool { return a.ended })
				}
				now = now.Add(pass.Draw(t, "pass"))
				f(t, ticks(now))
			}
		}
		// changes holds what b says against what m became.
		changes := func(t *rapid.T, from State, epoch int, change Change) {
			require.Equal(t, m.epoch != epoch, change.Changed())
			if change.Changed() {
				require.Equal(t, from, change.From)
				require.Equal(t, m.state, change.To)
				require.NotEqual(t, NoReason, change.Reason)
				visits[[2]State{change.From, change.To}]++
			}
		}
		enter := step(func(t *rapid.T, at int64) {
			c := config.Draw(t, "handler")
			from, epoch := m.state, m.epoch
			ready := b.Ready(now, c)
			admitted := m.enter(at, c)
			a, change, ok := b.Enter(now, c)
			require.Equal(t, admitted, ok)
			require.Equal(t, admitted, ready, "Ready must foretell Enter")
			changes(t, from, epoch, change)
			if ok {
				require.Equal(t, m.state == HalfOpen, a.Probe())
				m.attempts = append(m.attempts, &modelAttempt{real: &a, config: c, epoch: m.epoch, probe: a.Probe(), entered: at})
			}
		})
		header := step(func(t *rapid.T, at int64) {
			a, o := pickOne(t), outcome.Draw(t, "outcome")
			latency := rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second}).Draw(t, "latency")
			from, epoch := m.state, m.epoch
			m.header(a, at, latency, o)
			changes(t, from, epoch, a.real.Header(now, latency, o))
		})
		end := step(func(t *rapid.T, at int64) {
			a, o := pickOne(t), outcome.Draw(t, "outcome")
			from, epoch := m.state, m.epoch
			if !a.ended {
				a.ended = true
				m.say(a, at, o)
			}
			changes(t, from, epoch, a.real.End(now, o))
		})
		whole := step(func(t *rapid.T, at int64) {
			c, o := config.Draw(t, "handler"), outcome.Draw(t, "outcome")
			from, epoch := m.state, m.epoch
			admitted := m.enter(at, c)
			a, change, ok := b.Enter(now, c)
			require.Equal(t, admitted, ok)
			changes(t, from, epoch, change)
			if !ok {
				return
			}
			one := &modelAttempt{config: c, epoch: m.epoch, probe: a.Probe(), entered: at}
			from, epoch = m.state, m.epoch
			m.header(one, at, time.Millisecond, o)
			changes(t, from, epoch, a.Header(now, time.Millisecond, o))
			from, epoch = m.state, m.epoch
			m.say(one, at, o)
			changes(t, from, epoch, a.End(now, o))
		})
		rare := []func(){
			step(func(t *rapid.T, _ int64) {
				a := b.Observe(now)
				m.attempts = append(m.attempts, &modelAttempt{real: &a, epoch: m.epoch})
			}),
			step(func(t *rapid.T, at int64) {
				a := pickOne(t)
				from, epoch := m.state, m.epoch
				if !a.ended {
					m.say(a, at, Success)
					a.answered = true
				}
				changes(t, from, epoch, a.real.Streaming(now))
			}),
			step(func(t *rapid.T, at int64) {
				ago := rapid.SampledFrom([]time.Duration{0, time.Second, 30 * time.Second, 5 * time.Minute}).Draw(t, "down")
				since := at - int64(ago)
				if m.state == Closed && m.ramp < since && m.good-since <= int64(underWay) {
					m.ramp = at
				}
				b.Recovered(now, now.Add(-ago))
			}),
			step(func(t *rapid.T, at int64) {
				mode := rapid.SampledFrom([]Mode{Auto, Auto, Auto, Auto, ForceOpen, ForceClosed}).Draw(t, "mode")
				from, epoch := m.state, m.epoch
				m.force(at, mode)
				changes(t, from, epoch, b.Force(now, mode))
			}),
		}
		check := func() {
			at := ticks(now)
			s := b.Status(now)
			require.Equal(t, m.state, s.State)
			require.Equal(t, m.state, b.State())
			require.Equal(t, m.mode, s.Mode)
			require.Equal(t, m.mode, b.Mode())
			require.Equal(t, m.active(), s.Active)
			require.Equal(t, m.reopens, s.Reopens)
			require.Equal(t, max(m.headers, m.bodies), s.ConsecutiveFailures)
			require.InDelta(t, math.Pow(0.5, float64(min(m.failed, 10))), b.Reinstated(), 0)
			require.Equal(t, m.ramp, b.rampAt.Load())
			held := 0
			if m.state == HalfOpen {
				held = m.held(at)
				require.Equal(t, m.successes, s.Successes)
				require.LessOrEqual(t, held, 3, "the greatest cap")
				if held == 0 {
					for _, c := range configs {
						require.True(t, b.Ready(now, c), "stuck: no probe under way, and none is admitted")
					}
				}
			}
			require.Equal(t, held, s.Probes)
			if m.state == Open && m.mode == Auto {
				require.Equal(t, m.until, ticks(s.OpenUntil))
				require.Equal(t, m.since, ticks(s.OpenedAt))
				require.Equal(t, at >= m.until, b.Ready(now, configs[0]))
			} else {
				require.Zero(t, s.OpenUntil)
			}
			_, ejected := b.EjectedAt()
			require.Equal(t, m.state == Open && m.mode == Auto, ejected)
		}
		often := append(make([]bool, 20), true)
		usual := []func(){enter, enter, enter, header, header, end, end, whole, whole, whole}
		for range rapid.IntRange(100, 200).Draw(t, "steps") {
			if rapid.SampledFrom(often).Draw(t, "rare") {
				rapid.SampledFrom(rare).Draw(t, "step")()
			} else {
				rapid.SampledFrom(usual).Draw(t, "step")()
			}
			check()
		}
	})
	for _, path := range [][2]State{{Closed, Open}, {Open, HalfOpen}, {HalfOpen, Open}, {HalfOpen, Closed}} {
		require.Positive(t, visits[path], "%s to %s was never seen: the test does not reach it", path[0], path[1])
	}
}
