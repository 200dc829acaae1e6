package adaptive

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const simulatedTarget = 250 * time.Millisecond

// overload is the case that the limiter is made for: an origin of 500 requests
// per second, and 200 clients of which 5 want more than all others together.
func overload(seed uint64) simulation {
	return simulation{
		clients: 200, abusers: 5, honestLoad: 400, service: exponential(40 * time.Millisecond),
		clientTimeout: 5 * time.Second, settle: 30 * time.Second, seed: seed,
		phases: []simulatedPhase{
			{name: "80 % load", lasts: 45 * time.Second, load: 400, workers: 20},
			{name: "2x overload", lasts: 45 * time.Second, load: 1000, workers: 20},
			{name: "origin halves", lasts: 45 * time.Second, load: 1000, workers: 10},
			{name: "origin recovers", lasts: 45 * time.Second, load: 1000, workers: 20},
			{name: "80 % again", lasts: 45 * time.Second, load: 400, workers: 20},
		},
	}
}

// briefOverload is the same in less time: it is judged sooner after each step.
func briefOverload() simulation {
	s := overload(1)
	s.settle = 10 * time.Second
	for i := range s.phases {
		s.phases[i].lasts = 25 * time.Second
	}
	return s
}

// TestSimulate prints what each policy makes of the same overload, and holds the
// results: what is known to collapse does, and the limiter does not.
func TestSimulate(t *testing.T) {
	rates := RateConfig{Threshold: simulatedTarget}
	policies := []struct {
		name  string
		make  func(time.Time) policy
		check func(t *testing.T, s simulation, results []phaseResult)
	}{
		{"none", func(time.Time) policy { return everyone{} }, requireCollapse},
		{"per-IP rate", perClientPolicy(rates), requireCollapse},
		{"rate loop", rateLoopPolicy(rates), func(t *testing.T, _ simulation, r []phaseResult) {
			require.Less(t, r[2].goodput, 50., "the rate follows too slowly when the origin halves")
		}},
		{"in-flight", inFlightPolicy(Config{Target: simulatedTarget, NoFairShare: true}), requireGoodput},
		{"in-flight, fair share", inFlightPolicy(Config{Target: simulatedTarget}), func(t *testing.T, s simulation, r []phaseResult) {
			requireGoodput(t, s, r)
			requireFair(t, s, r)
		}},
	}
	s := overload(1)
	results := make([][]phaseResult, len(policies))
	var done sync.WaitGroup
	for i, p := range policies {
		done.Go(func() { results[i] = s.run(p.make) })
	}
	done.Wait()
	t.Logf("%-22s %-16s %9s %9s %9s %9s", "policy", "phase", "goodput/s", "P95 ms", "honest %", "refused/s")
	for i, p := range policies {
		for phase, r := range results[i] {
			t.Logf("%-22s %-16s %9.1f %9.0f %9.1f %9.1f", p.name, s.phases[phase].name, r.goodput, r.p95.Seconds()*1e3, r.honest*100, r.refused)
		}
		p.check(t, s, results[i])
	}
}

// TestSimulateOtherCases holds that the law is not made for one case.
func TestSimulateOtherCases(t *testing.T) {
	ms := time.Millisecond
	scale := func(s *simulation, capacity float64, workers int) {
		s.honestLoad = capacity * 0.8
		for i, load := range []float64{2, 2, 0.8} {
			s.phases[i].load = capacity * load
			s.phases[i].workers = workers
		}
		s.phases[1].workers = workers / 2
	}
	slower := func(s *simulation) { s.phases[1].workers, s.phases[1].slower = s.phases[0].workers, 2 }
	cases := []struct {
		name   string
		config Config
		change func(*simulation)
	}{
		{"another seed", Config{}, func(s *simulation) { s.seed = 2 }},
		{"and another", Config{}, func(s *simulation) { s.seed = 3 }},
		{"greater target", Config{Target: 600 * ms}, func(*simulation) {}},
		{"20 abusers", Config{}, func(s *simulation) { s.abusers = 20 }},
		{"2000 clients", Config{}, func(s *simulation) { s.clients, s.abusers = 2000, 20 }},
		{"5x overload", Config{}, func(s *simulation) { s.phases[0].load, s.phases[1].load = 2500, 2500 }},
		{"fixed service time", Config{}, func(s *simulation) { s.service = fixed(40 * ms) }},
		{"origin slows down", Config{}, func(s *simulation) { s.service = fixed(40 * ms); slower(s) }},
		{"heavy tail", Config{Target: 600 * ms}, func(s *simulation) { s.service = heavyTailed(40 * ms) }},
		{"pareto", Config{}, func(s *simulation) { s.service = pareto(40 * ms) }},
		{"clients wait 1 s", Config{}, func(s *simulation) { s.clientTimeout = time.Second }},
		{"clients wait 400 ms", Config{}, func(s *simulation) { s.clientTimeout = 400 * ms }},
		{"16 workers of 20 ms", Config{Target: 150 * ms}, func(s *simulation) { s.service = fixed(20 * ms); scale(s, 800, 16) }},
		{"16 workers slow down", Config{Target: 150 * ms}, func(s *simulation) { s.service = fixed(20 * ms); scale(s, 800, 16); slower(s) }},
		{"4 workers of 100 ms", Config{Target: time.Second}, func(s *simulation) { s.service = fixed(100 * ms); scale(s, 40, 4) }},
		{"40 workers", Config{}, func(s *simulation) { scale(s, 1000, 40) }},
		{"low initial limit", Config{Initial: 10}, func(*simulation) {}},
		{"high initial limit", Config{Initial: 5000}, func(*simulation) {}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := briefOverload()
			s.phases = []simulatedPhase{s.phases[1], s.phases[2], s.phases[4]}
			c.change(&s)
			if c.config.Target == 0 {
				c.config.Target = simulatedTarget
			}
			results := s.run(inFlightPolicy(c.config))
			full, half, calm := results[0], results[1], results[2]
			// Over 10 s a random service time makes the capacity itself
			// vary by some per cent, the more the heavier its tail is.
			capacity := s.honestLoad / 0.8
			require.Greater(t, full.goodput, 0.95*capacity)
			require.Greater(t, half.goodput, 0.95*capacity/2)
			require.Less(t, full.p95, c.config.Target*12/10)
			require.Less(t, half.p95, c.config.Target*12/10)
			require.Greater(t, full.honest, 0.9)
			require.Greater(t, calm.honest, 0.999)
			require.Zero(t, calm.refused)
		})
	}
}

// TestSimulateSlowByNature: a tenth of the requests is slower than the target
// whatever the limit is. They must not make the limiter refuse anybody, and an
// overload must still be met.
func TestSimulateSlowByNature(t *testing.T) {
	t.Parallel()
	s := briefOverload()
	s.service = func(r *rand.Rand) time.Duration {
		if r.IntN(10) == 0 {
			return 800 * time.Millisecond
		}
		return 20 * time.Millisecond
	}
	for i := range s.phases {
		s.phases[i].workers *= 5
		s.phases[i].load *= 2
		s.phases[i].lasts *= 2 // as such service times make the capacity vary
	}
	s.honestLoad *= 2
	results := s.run(inFlightPolicy(Config{Target: 500 * time.Millisecond}))
	require.Zero(t, results[0].refused)
	require.Zero(t, results[4].refused)
	for _, i := range []int{1, 3} {
		require.Greater(t, results[i].goodput, 0.95*1000)
		require.Greater(t, results[i].honest, 0.9)
	}
	require.Greater(t, results[2].goodput, 0.95*500)
}

// TestSimulateImpatience: clients that leave before the target is reached, and
// whose requests the origin works on nonetheless, must not end in a collapse.
func TestSimulateImpatience(t *testing.T) {
	t.Parallel()
	s := briefOverload()
	s.clientTimeout = 200 * time.Millisecond
	results := s.run(inFlightPolicy(Config{Target: simulatedTarget}))
	require.Greater(t, results[1].goodput, 0.7*500)
	require.Greater(t, results[3].goodput, 0.7*500)
	require.Greater(t, results[4].honest, 0.98)
}

// TestSimulateRapidAborts: abusers that abort each request at once still use the
// origin, and are charged for it.
func TestSimulateRapidAborts(t *testing.T) {
	t.Parallel()
	s := briefOverload()
	s.abusersAbort = 5 * time.Millisecond
	s.phases[1].load, s.phases[3].load = 2000, 2000
	results := s.run(inFlightPolicy(Config{Target: simulatedTarget}))
	require.Greater(t, results[1].honest, 0.9)
	require.Greater(t, results[3].honest, 0.9)
}

// TestSimulateFreshClients: when the excess comes from clients that come once, as
// in a flash crowd, no fair share can hold it, and those who come again must have
// what they would have without.
func TestSimulateFreshClients(t *testing.T) {
	t.Parallel()
	for _, load := range []float64{1000, 2500} {
		s := briefOverload()
		s.abusersFresh = true
		s.phases = []simulatedPhase{s.phases[0], s.phases[1], s.phases[4]}
		s.phases[1].load = load
		results := s.run(inFlightPolicy(Config{Target: simulatedTarget}))
		requireGoodput(t, s, results)
		require.Greater(t, results[1].honest, 0.95*500/load)
	}
}

// TestSimulateBaseline: the target found by itself does as well.
func TestSimulateBaseline(t *testing.T) {
	t.Parallel()
	s := briefOverload()
	results := s.run(inFlightPolicy(Config{BaselineFactor: 10}))
	requireGoodput(t, s, results[:2])
	require.Greater(t, results[1].honest, 0.9)
	require.Greater(t, results[2].goodput, 0.95*250)
}

func requireCollapse(t *testing.T, _ simulation, results []phaseResult) {
	t.Helper()
	for _, r := range results[1:3] {
		require.Less(t, r.goodput, 5.)
	}
}

func requireGoodput(t *testing.T, s simulation, results []phaseResult) {
	t.Helper()
	for i, r := range results {
		capacity := 25 * float64(s.phases[i].workers)
		require.Greater(t, r.goodput, 0.95*min(capacity, s.phases[i].load), s.phases[i].name)
		require.Less(t, r.p95, simulatedTarget*12/10, s.phases[i].name)
		if s.phases[i].load < capacity {
			require.Zero(t, r.refused, s.phases[i].name)
		}
	}
}

func requireFair(t *testing.T, s simulation, results []phaseResult) {
	t.Helper()
	for i, r := range results {
		// Where not even the honest can all be served, the fair share of
		// theirs is what counts.
		capacity := 25 * float64(s.phases[i].workers)
		fair := capacity * float64(s.clients-s.abusers) / float64(s.clients)
		require.Greater(t, r.honest, 0.9*min(fair/s.honestLoad, 1), s.phases[i].name)
	}
}
