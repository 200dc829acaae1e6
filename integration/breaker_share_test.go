package integration

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// step are rules whose slow start stays at one share.
func step(percent int) string { return fmt.Sprintf("%sslow_start %d%% each 1h\n", patient, percent) }

// requireShare counts requests to a pool, the last backend of which is recovering:
// its part is that of a backend which counts as percent of one.
func (b *breakerEdge) requireShare(percent int) {
	b.t.Helper()
	path, n := fmt.Sprintf("/step/%d", percent), 520
	require.Equal(b.t, map[int]int{http.StatusOK: n}, b.gets(n, path))
	counts := b.arrived(path)
	last := len(counts) - 1
	share := float64(percent) / 100
	want := float64(n) * share / (float64(last) + share)
	require.InEpsilon(b.t, want, counts[last], 0.2, "%d %%: %v", percent, counts)
	for _, n := range counts[:last] {
		require.InDelta(b.t, counts[0], n, 2, "%v", counts)
	}
	require.InDelta(b.t, share, b.status(last).Proxies[0].Share, 0)
}

func TestShareOfARecoveringBackend(t *testing.T) {
	t.Parallel()
	b := startBreaker(t, 4, breakerOptions{rules: step(25) + "successes 1"})
	b.halfOpen(3)
	poll(t, "it closes", func() bool {
		b.get("/page")
		return b.status(3).State == "closed"
	})
	for _, percent := range []int{25, 50, 75, 100} {
		require.NoError(t, b.reload(breakerOptions{rules: step(percent) + "successes 1"}))
		b.requireShare(percent)
	}
}

func TestShareAfterAHealthCheck(t *testing.T) {
	t.Parallel()
	const checks = "health_uri /health\nhealth_interval 50ms\nhealth_timeout 10s"
	b := startBreaker(t, 4, breakerOptions{rules: step(25), proxy: checks})
	for _, percent := range []int{25, 75} {
		require.NoError(t, b.reload(breakerOptions{rules: step(percent), proxy: checks}))
		b.backends[3].Handle("/health", failing())
		healthy := func() bool {
			b.get("/page")
			return b.status(3).Proxies[0].Healthy
		}
		poll(t, "it is taken out", func() bool { return !healthy() })
		before := b.backends[3].Stats("/page").Arrived
		require.Equal(t, map[int]int{http.StatusOK: 20}, b.gets(20, "/page"))
		require.Equal(t, before, b.backends[3].Stats("/page").Arrived)

		// Both must agree: its breaker opens meanwhile, or is forced to.
		b.backends[3].Handle("/health", text("ok"))
		poll(t, "it is back", healthy)
		require.Equal(t, "closed", b.status(3).State)
		b.requireShare(percent)
	}
	b.force(3, "open")
	require.Equal(t, map[int]int{http.StatusOK: 20}, b.gets(20, "/forced"))
	require.Zero(t, b.backends[3].Stats("/forced").Arrived, "healthy, but open")
}

func TestWeightsAreExactWithABackendMissing(t *testing.T) {
	t.Parallel()
	b := startBreaker(t, 3, breakerOptions{rules: patient, policy: "{\nweights 1 1 2\n}"})
	require.Equal(t, map[int]int{http.StatusOK: 40}, b.gets(40, "/all"))
	require.Equal(t, []int{10, 10, 20}, b.arrived("/all"))
	b.force(0, "open")
	require.Equal(t, map[int]int{http.StatusOK: 300}, b.gets(300, "/without"))
	require.Equal(t, []int{0, 100, 200}, b.arrived("/without"))
	b.force(0, "closed")
	require.Equal(t, map[int]int{http.StatusOK: 40}, b.gets(40, "/again"))
	counts := b.arrived("/again")
	for i, want := range []int{10, 10, 20} {
		require.InDelta(t, want, counts[i], 1, "%v", counts)
	}
	s := b.list()
	require.Equal(t, []int{1, 1, 2}, []int{s[b.addr(0)].Proxies[0].Weight, s[b.addr(1)].Proxies[0].Weight, s[b.addr(2)].Proxies[0].Weight})
}

func TestLeastConnGoesByWeightAndRequests(t *testing.T) {
	t.Parallel()
	b := startBreaker(t, 3, breakerOptions{rules: patient, policy: "least_conn {\nweights 1 1 2\n}"})
	gate := origin.NewGate()
	t.Cleanup(gate.Open)
	held := text("held")
	held.HoldHeader = gate
	b.handle("/held", held)
	client := b.Client(harness.H1)
	var all []*batch
	for i := range 8 {
		all = append(all, sendTogether(t, client, 1, func(int) *http.Request { return b.request(http.MethodGet, "/held") }))
		poll(t, "it arrives", func() bool { c := b.arrived("/held"); return c[0]+c[1]+c[2] == i+1 })
	}
	require.Equal(t, []int{2, 2, 4}, b.arrived("/held"))
	gate.Open()
	for _, sent := range all {
		require.Equal(t, http.StatusOK, sent.responses()[0].Status)
	}
}

func TestP2CUsesAllThatMayBeAsked(t *testing.T) {
	t.Parallel()
	b := startBreaker(t, 3, breakerOptions{rules: patient, policy: "p2c"})
	poll(t, "all have answered", func() bool {
		require.Equal(t, http.StatusOK, b.get("/page").Status)
		return !slices.Contains(b.arrived("/page"), 0)
	})
	b.force(0, "open")
	require.Equal(t, map[int]int{http.StatusOK: 50}, b.gets(50, "/without"))
	counts := b.arrived("/without")
	require.Equal(t, []int{0, 50}, []int{counts[0], counts[1] + counts[2]})
}

// TestASharedFaultNeverEmptiesThePool has all backends fail.
func TestASharedFaultNeverEmptiesThePool(t *testing.T) {
	t.Parallel()
	b := startBreaker(t, 3, breakerOptions{rules: patient})
	b.handle("/broken", failing())
	require.Equal(t, map[int]int{http.StatusInternalServerError: 60}, b.gets(60, "/broken"), "the origin's word, and no refusal")
	for i := range b.backends {
		require.Equal(t, "open", b.status(i).State)
	}
	counts := b.arrived("/broken")
	slices.Sort(counts)
	require.Equal(t, 1, counts[0], "half of three, rounded down, may be out: the last one that opened")
	require.InDelta(t, counts[1], counts[2], 2)
	require.Equal(t, map[int]int{http.StatusOK: 60}, b.gets(60, "/page"))

	// All of them may be out.
	require.NoError(t, b.reload(breakerOptions{rules: patient + "max_ejection 100%"}))
	requireUnavailable(t, b.get("/page"), 3500, 3600)
	// Two of three: the one that is out for longest is used.
	require.NoError(t, b.reload(breakerOptions{rules: patient + "max_ejection 67%"}))
	require.Equal(t, map[int]int{http.StatusOK: 30}, b.gets(30, "/two"))
	counts = b.arrived("/two")
	slices.Sort(counts)
	require.Equal(t, []int{0, 0, 30}, counts)
	// What an operator holds open is not put back.
	for i := range b.backends {
		b.force(i, "open")
	}
	requireUnavailable(t, b.get("/page"), 1, 60)
}
