package integration

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
)

func TestReloadKeepsTheLearnedLimit(t *testing.T) {
	t.Parallel()
	c := startAdaptive(t, growing)
	c.raise()
	learned := c.adaptive()
	gate, held := c.hold("/slow", 1)
	reload := func(options string) error {
		return c.Reload(limitedSite, harness.Vars{"limits": "edge_adaptive {\n" + options + "\n}"})
	}
	require.NoError(t, reload(growing))
	s := c.adaptive()
	require.InDelta(t, learned.Limit, s.Limit, 0)
	require.Equal(t, 1, s.InFlight)
	require.GreaterOrEqual(t, s.Admitted, learned.Admitted)

	require.Error(t, reload("min 9\nmax 2"))
	require.Error(t, reload(growing+"\nstatus 429\n}\nfile_server {\nprecompressed nonsense"))
	require.InDelta(t, learned.Limit, c.adaptive().Limit, 0)

	require.NoError(t, reload(single))
	require.LessOrEqual(t, c.adaptive().Limit, 2.0, "new bounds apply at once")
	require.NoError(t, reload("min 50\nmax 60\np95 30s"))
	require.InDelta(t, 50, c.adaptive().Limit, 0)
	gate.Open()
	held.responses()
	c.awaitSlots()
}

func TestModeRate(t *testing.T) {
	t.Parallel()
	c := startAdaptive(t, "mode rate\nmin 1\nmax 2\ninitial 1\ninterval 1h")
	s := c.adaptive()
	require.Equal(t, []any{"rate", "normal", 1.0}, []any{s.Mode, s.State, s.Limit})
	allowed, refused := 0, 0
	together := sendTogether(t, c.Client(harness.H1), 20, func(int) *http.Request { return c.request(http.MethodGet, "/page") })
	for _, got := range together.responses() {
		if got.Status == http.StatusOK {
			allowed++
			continue
		}
		refused++
		requireOverloaded(t, got, http.StatusServiceUnavailable)
		require.Equal(t, 1, retryAfter(t, got))
	}
	require.NotZero(t, allowed)
	require.NotZero(t, refused)
	s = c.adaptive()
	require.Equal(t, []int{allowed, refused}, []int{s.Admitted, s.Refused["rate"]})
	poll(t, "there is room again", func() bool { return c.get("/page").Status == http.StatusOK })
	require.InDelta(t, 500, c.adaptive().Target, 0)
}

func TestModeRateMovesTheRate(t *testing.T) {
	t.Parallel()
	c := startAdaptive(t, "mode rate\nmin 10\nmax 1000\ninitial 100\ninterval 100ms\np95 30s\nrecovery 1.5")
	poll(t, "the rate grows", func() bool {
		c.get("/page")
		return c.adaptive().Limit > 100
	})
	c.WaitLog(func(e harness.Entry) bool { return e["msg"] == "adaptive limit" && e["to"] == "recovering" })
	grown := c.adaptive().Limit
	require.NoError(t, c.Reload(limitedSite, harness.Vars{
		"limits": "edge_adaptive {\nmode rate\nmin 10\nmax 1000\ninitial 100\ninterval 1h\np95 30s\n}",
	}))
	require.GreaterOrEqual(t, c.adaptive().Limit, grown, "a reload keeps the rate")
}

func TestAdaptiveMetricsAndLogs(t *testing.T) {
	t.Parallel()
	c := startAdaptive(t, single)
	require.Equal(t, http.StatusOK, c.get("/page").Status)
	c.awaitSlots()
	gate, held := c.hold("/slow", 1)
	for range 5 {
		requireOverloaded(t, c.get("/page"), http.StatusServiceUnavailable)
	}
	requireOverloaded(t, c.get("/page?last"), http.StatusServiceUnavailable)
	m := c.Metrics()
	for series, want := range map[string]float64{
		`caddy_edge_adaptive_limit{name="default"}`:                                1,
		`caddy_edge_adaptive_admitted_total{name="default"}`:                       2,
		`caddy_edge_adaptive_refused_total{name="default",reason="limit_reached"}`: 6,
		`caddy_edge_adaptive_refused_total{name="default",reason="over_share"}`:    0,
		`caddy_edge_adaptive_held{name="default",place="slot"}`:                    1,
		`caddy_edge_adaptive_held{name="default",place="stream"}`:                  0,
		`caddy_edge_adaptive_target_seconds{name="default"}`:                       30,
		`caddy_edge_adaptive_state{name="default",state="shedding"}`:               1,
		`caddy_edge_adaptive_state{name="default",state="normal"}`:                 0,
	} {
		require.Contains(t, m, series)
		require.InDelta(t, want, m[series], 0, series)
	}
	require.Contains(t, m, `caddy_edge_adaptive_latency_seconds{name="default",quantile="0.95"}`)
	for series := range m {
		if strings.HasPrefix(series, "caddy_edge_") {
			require.NotContains(t, series, "127.0.0.")
		}
	}
	s := c.adaptive()
	require.Equal(t, []any{"inflight", "shedding", 1, 2, 6}, []any{s.Mode, s.State, s.InFlight, s.Admitted, s.Refused["limit_reached"]})
	access := c.WaitLog(isAccess("/page?last"))
	require.Equal(t, "limit_reached", access["edge_adaptive"])
	isNotice := func(e harness.Entry) bool { return e["msg"] == "refusing requests to protect the origin" }
	require.Equal(t, "limit_reached", c.WaitLog(isNotice)["reason"])
	c.WaitLog(func(e harness.Entry) bool { return e["msg"] == "adaptive limit" && e["to"] == "shedding" })
	gate.Open()
	held.responses()
}

func TestSitesShareOnlyAdaptiveLimitsOfOneName(t *testing.T) {
	t.Parallel()
	const sites = `
		{{http "site"}} {
			edge_adaptive {
				{{.first}}
			}
			reverse_proxy {{.origin}}
		}
		{{http "other"}} {
			edge_adaptive {
				{{.second}}
			}
			reverse_proxy {{.origin}}
		}
	`
	c := startLimitedFile(t, sites, harness.Vars{"first": single, "second": single})
	other := func() int { return c.Get(harness.H1, c.URL("other")+"/page").Status }
	gate, held := c.hold("/slow", 1)
	require.Equal(t, http.StatusServiceUnavailable, c.get("/page").Status)
	require.Equal(t, http.StatusOK, other())
	require.Len(t, c.adaptives(), 2)
	gate.Open()
	held.responses()

	named := single + "\nname origin"
	require.NoError(t, c.Reload(sites, harness.Vars{"first": named, "second": named}))
	gate, held = c.hold("/slow2", 1)
	require.Equal(t, http.StatusServiceUnavailable, other())
	gate.Open()
	held.responses()

	err := c.Reload(sites, harness.Vars{"first": named, "second": growing + "\nname origin"})
	require.ErrorContains(t, err, "edge_adaptive: origin: defined twice")
}

func TestBadAdaptiveConfigsAreRefusedByName(t *testing.T) {
	t.Parallel()
	adaptive := func(options string) string { return "edge_adaptive {\n" + options + "\n}" }
	requireRefusedConfigs(t, []badConfig{
		{"edge_adaptive 5", []string{"edge_adaptive: takes a matcher and a block", `"5"`}},
		{adaptive("min 5\nmax 5"), []string{"edge_adaptive:", "min", "max", "5 is not below 5"}},
		{adaptive("min 9\nmax 5"), []string{"edge_adaptive:", "min", "max", "9 is not below 5"}},
		{adaptive("max 2"), []string{"edge_adaptive:", "min", "max", "4 is not below 2"}},
		{adaptive("min 0"), []string{"edge_adaptive: min:", `"0"`}},
		{adaptive("max many"), []string{"edge_adaptive: max:", `"many"`}},
		{adaptive("min 1\nmax 5\ninitial 9"), []string{"edge_adaptive:", "initial", "9"}},
		{adaptive("p95 0"), []string{"edge_adaptive: p95:", `"0"`}},
		{adaptive("p95 2m"), []string{"edge_adaptive:", "p95", "2m"}},
		{adaptive("baseline 1"), []string{"edge_adaptive:", "baseline", "1"}},
		{adaptive("mode fast"), []string{"edge_adaptive: mode:", `"fast"`}},
		{adaptive("status 500"), []string{"edge_adaptive: status:", `"500"`}},
		{adaptive("name \"a b\""), []string{"edge_adaptive: name:", `"a b"`}},
		{adaptive("key {nonsense}"), []string{"edge_adaptive: key:", "{nonsense}"}},
		{adaptive("queue 0"), []string{"edge_adaptive: queue:", `"0"`}},
		{adaptive("queue 5 2h"), []string{"edge_adaptive:", "queue", "2h"}},
		{adaptive("priority urgent /"), []string{"edge_adaptive: priority", `"urgent"`}},
		{adaptive("priority high"), []string{"edge_adaptive: priority:", "matcher"}},
		{adaptive("fair_share maybe"), []string{"edge_adaptive: fair_share:", `"maybe"`}},
		{adaptive("interval 5s"), []string{"edge_adaptive: interval", "only in mode rate"}},
		{adaptive("mode rate\nqueue 5"), []string{"edge_adaptive: queue: 5: only in mode inflight"}},
		{adaptive("mode rate\nmin 600"), []string{"edge_adaptive:", "min", "600 is not below 500"}},
		{adaptive("mode rate\np95 2m"), []string{"edge_adaptive:", "p95", "2m"}},
		{adaptive("mode rate\nreduction 1"), []string{"edge_adaptive:", "reduction", "1"}},
		{adaptive("mode rate\nrecovery 1"), []string{"edge_adaptive:", "recovery", "1"}},
		{adaptive("mode rate\nrecover_below 2"), []string{"edge_adaptive:", "recover_below", "2"}},
		{adaptive("mode rate\ninterval 1ms"), []string{"edge_adaptive:", "interval", "1ms"}},
		{adaptive("speed 5"), []string{"edge_adaptive:", `unknown option "speed"`}},
		{adaptive("min 5\nmin 6"), []string{"edge_adaptive: min: given more than once"}},
	})
}
