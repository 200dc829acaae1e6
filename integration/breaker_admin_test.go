package integration

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
)

func TestBackendsAreListedBeforeTheFirstRequest(t *testing.T) {
	t.Parallel()
	b := startBreaker(t, 3, breakerOptions{rules: patient, policy: "p2c {\nweights 1 2 3\n}"})
	all := b.list()
	require.Len(t, all, 3)
	for i := range b.backends {
		s := all[b.addr(i)]
		require.Equal(t, []any{"closed", "auto", 0}, []any{s.State, s.Mode, s.Active})
		require.Len(t, s.Proxies, 1)
		require.Equal(t, []any{"p2c", i + 1, 1.0, true}, []any{s.Proxies[0].Method, s.Proxies[0].Weight, s.Proxies[0].Share, s.Proxies[0].Healthy})
	}
	require.Equal(t, map[int]int{http.StatusOK: 60}, b.gets(60, "/page"))
	rps := 0.0
	for _, s := range b.list() {
		rps += s.RPS
	}
	require.Positive(t, rps)

	for _, bad := range []struct {
		method, path string
		in           any
		status       int
		says         string
	}{
		{http.MethodGet, "/edge/breaker/backend", nil, http.StatusBadRequest, "address"},
		{http.MethodGet, "/edge/breaker/backend?address=192.0.2.1:80", nil, http.StatusNotFound, "192.0.2.1:80"},
		{http.MethodPost, "/edge/breaker/force", map[string]string{"address": "192.0.2.1:80", "mode": "open"}, http.StatusNotFound, "192.0.2.1:80"},
		{http.MethodPost, "/edge/breaker/force", map[string]string{"address": b.addr(0), "mode": "ajar"}, http.StatusBadRequest, "ajar"},
		{http.MethodPost, "/edge/breaker/force", map[string]string{"mode": "open"}, http.StatusBadRequest, "address"},
		{http.MethodPost, "/edge/breaker/force", map[string]string{"address": b.addr(0), "mode": "open", "for": "1h"}, http.StatusBadRequest, "for"},
	} {
		status, body := b.Admin(bad.method, bad.path, bad.in)
		require.Equal(t, bad.status, status, "%s %v: %s", bad.path, bad.in, body)
		require.Contains(t, string(body), bad.says)
	}
}

// TestOrdersSurviveReloads has an operator hold backends open and closed.
func TestOrdersSurviveReloads(t *testing.T) {
	t.Parallel()
	const rules = patient + "\nmax_ejection 100%"
	b := startBreaker(t, 3, breakerOptions{rules: rules})
	b.handle("/broken", failing())
	b.force(0, "open")
	b.force(1, "closed")
	require.Equal(t, map[int]int{http.StatusInternalServerError: 20}, b.gets(20, "/broken"))
	check := func() {
		t.Helper()
		require.Equal(t, []any{"open", "open"}, []any{b.status(0).State, b.status(0).Mode})
		require.Equal(t, []any{"closed", "closed"}, []any{b.status(1).State, b.status(1).Mode}, "whatever it answers")
		require.Equal(t, []any{"open", "auto"}, []any{b.status(2).State, b.status(2).Mode})
		before := b.arrived("/page")
		require.Equal(t, map[int]int{http.StatusOK: 10}, b.gets(10, "/page"))
		after := b.arrived("/page")
		require.Equal(t, []int{0, 10, 0}, []int{after[0] - before[0], after[1] - before[1], after[2] - before[2]})
	}
	check()
	until := *b.status(2).OpenUntil
	require.NoError(t, b.reload(breakerOptions{rules: rules}))
	check()
	for _, bad := range []string{"failures 0", "open 5s 1s", patient + "\n}\nfile_server {\nprecompressed nonsense"} {
		require.Error(t, b.reload(breakerOptions{rules: bad}), bad)
		check()
	}
	// Refused at the start, when all has been provisioned.
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer occupied.Close()
	for range 3 {
		err := b.Reload(breakerSite+fmt.Sprintf("\nhttp://%s {\nrespond no\n}\n", occupied.Addr()), (&breakerOptions{rules: rules}).vars())
		require.ErrorContains(t, err, "address already in use")
		check()
	}
	require.WithinDuration(t, until, *b.status(2).OpenUntil, 1e9)

	b.force(0, "auto")
	require.Equal(t, "half_open", b.status(0).State, "it is probed first")
	b.force(1, "auto")
	require.Equal(t, "closed", b.status(1).State)
}

// TestTransitionsAreTold looks for them in the log, the events and the metrics.
func TestTransitionsAreTold(t *testing.T) {
	t.Parallel()
	b := startBreaker(t, 1, breakerOptions{global: "debug", rules: patient + "successes 1"})
	b.origin.Handle("/broken", failing())
	require.Equal(t, http.StatusInternalServerError, b.get("/broken").Status)
	require.Equal(t, http.StatusServiceUnavailable, b.get("/page").Status)
	b.force(0, "closed")
	b.force(0, "auto")
	b.halfOpen(0)
	require.Equal(t, http.StatusOK, b.get("/page").Status)
	b.awaitState(0, "closed")

	told := func(message, reason string) harness.Entry {
		t.Helper()
		return b.WaitLog(func(e harness.Entry) bool {
			return e["msg"] == message && e["backend"] == b.addr(0) && e["reason"] == reason
		})
	}
	opened := told("backend open", "consecutive_failures")
	require.Equal(t, []any{"warn", "closed", 3600.0, 1.0}, []any{opened["level"], opened["from"], opened["open_for"], opened["failures"]})
	require.Equal(t, "info", told("backend half_open", "forced")["level"])
	require.Equal(t, "half_open", told("backend closed", "probes_succeeded")["from"])
	for name, reason := range map[string]string{
		"edge_breaker_opened": "consecutive_failures", "edge_breaker_half_open": "forced", "edge_breaker_closed": "probes_succeeded",
	} {
		b.WaitLog(func(e harness.Entry) bool {
			data, _ := e["data"].(map[string]any)
			return e["logger"] == "events" && e["name"] == name && data["backend"] == b.addr(0) && data["reason"] == reason
		})
	}
	m := b.Metrics()
	for to, want := range map[string]float64{"open": 2, "half_open": 1, "closed": 2} {
		require.InDelta(t, want, m[`caddy_edge_breaker_transitions_total{backend="`+b.addr(0)+`",to="`+to+`"}`], 0, to)
	}
}

// TestMetricsOfBackends scrapes all that there are.
func TestMetricsOfBackends(t *testing.T) {
	t.Parallel()
	b := startBreaker(t, 1, breakerOptions{rules: "failures 3\nopen 1h 1h"})
	require.Equal(t, map[int]int{http.StatusOK: 5}, b.gets(5, "/page"))
	b.origin.Handle("/broken", failing())
	missing := text("no")
	missing.Status = http.StatusNotFound
	b.origin.Handle("/missing", missing)
	require.Equal(t, map[int]int{http.StatusNotFound: 2}, b.gets(2, "/missing"))
	gate, held := b.hold("/held", 1)
	m := b.Metrics()
	of := func(name, labels string) string {
		return `caddy_edge_breaker_` + name + `{backend="` + b.addr(0) + `"` + labels + `}`
	}
	require.InDelta(t, 1, m[of("in_flight", "")], 0)
	gate.Open()
	held.responses()
	require.Equal(t, map[int]int{http.StatusInternalServerError: 3}, b.gets(3, "/broken"))
	require.Equal(t, http.StatusServiceUnavailable, b.get("/page").Status)
	b.awaitState(0, "open")
	m = b.Metrics()
	for series, want := range map[string]float64{
		of("requests_total", `,class="2xx"`):                6,
		of("requests_total", `,class="4xx"`):                2,
		of("requests_total", `,class="5xx"`):                3,
		of("request_duration_seconds_count", ""):            11,
		of("request_duration_seconds_bucket", `,le="+Inf"`): 11,
		of("in_flight", ""):                                 0,
		of("state", `,state="open"`):                        1,
		of("state", `,state="closed"`):                      0,
		of("state", `,state="half_open"`):                   0,
		of("errors_total", `,type="dial"`):                  0,
		`caddy_edge_breaker_refused_total{reason="open"}`:   1,
		`caddy_edge_breaker_retries_total{result="sent"}`:   0,
		`caddy_edge_breaker_retries_total{result="budget"}`: 0,
		`caddy_edge_breaker_refused_total{reason="denied"}`: 0,
		of("transitions_total", `,to="open"`):               1,
		of("errors_total", `,type="timeout"`):               0,
		of("errors_total", `,type="reset"`):                 0,
		of("errors_total", `,type="tls"`):                   0,
		of("errors_total", `,type="client"`):                0,
	} {
		require.Contains(t, m, series)
		require.InDelta(t, want, m[series], 0, series)
	}
	require.NoError(t, b.reload(breakerOptions{rules: "failures 3\nopen 1h 1h"}))
	require.InDelta(t, 6, b.Metrics()[of("requests_total", `,class="2xx"`)], 0, "a reload keeps the counters")
	names := make(map[string]bool)
	for series := range m {
		if name, _, _ := strings.Cut(series, "{"); strings.HasPrefix(name, "caddy_edge_breaker_") {
			names[name] = true
		}
	}
	require.Len(t, names, 11, "%v", slices.Sorted(maps.Keys(names)))
}

func TestBadBreakerOptionsAreRefusedByName(t *testing.T) {
	t.Parallel()
	b := startBreaker(t, 2, breakerOptions{rules: patient})
	b.force(0, "open")
	for _, bad := range []struct {
		rules, policy string
		says          []string
	}{
		{"failures 0", "", []string{"edge_breaker", "failures", `"0"`}},
		{"failures off", "", []string{"edge_breaker", "failures", "off"}},
		{"failure_ratio 1.5", "", []string{"edge_breaker", "failure_ratio", `"1.5"`}},
		{"failure_ratio 0", "", []string{"edge_breaker", "failure_ratio", `"0"`}},
		{"failure_ratio 0.5 0", "", []string{"edge_breaker", "failure_ratio", `"0"`}},
		{"slow_ratio 0.5", "", []string{"edge_breaker", "slow_ratio"}},
		{"slow_ratio 2 1s", "", []string{"edge_breaker", "slow_ratio", `"2"`}},
		{"slow_ratio 0.5 0s", "", []string{"edge_breaker", "slow_ratio", `"0s"`}},
		{"failure_ratio 0.5\nwindow 1ms", "", []string{"edge_breaker", "window", "1ms"}},
		{"failure_status 700", "", []string{"edge_breaker", "failure_status", `"700"`}},
		{"failure_status 6xx", "", []string{"edge_breaker", "failure_status", `"6xx"`}},
		{"grpc_status NONE", "", []string{"edge_breaker", "grpc_status", `"NONE"`}},
		{"successes 0", "", []string{"edge_breaker", "successes", `"0"`}},
		{"probes 0", "", []string{"edge_breaker", "probes", `"0"`}},
		{"open 0s", "", []string{"edge_breaker", "open", `"0s"`}},
		{"open 10s 5s", "", []string{"edge_breaker", "open", "5s"}},
		{"max_ejection 150%", "", []string{"edge_breaker", "max_ejection", `"150%"`}},
		{"max_ejection 0", "", []string{"edge_breaker", "max_ejection", `"0"`}},
		{"slow_start 25% 50%", "", []string{"edge_breaker", "slow_start"}},
		{"slow_start 25% each 0s", "", []string{"edge_breaker", "slow_start", `"0s"`}},
		{"slow_start 250% each 1s", "", []string{"edge_breaker", "slow_start", `"250%"`}},
		{"retry_budget -1", "", []string{"edge_breaker", "retry_budget", `"-1"`}},
		{"retry_methods get", "", []string{"edge_breaker", "retry_methods", `"get"`}},
		{"retry_methods any GET", "", []string{"edge_breaker", "retry_methods", "any"}},
		{"timeout -1s", "", []string{"edge_breaker", "timeout", `"-1s"`}},
		{"concurrency 0", "", []string{"edge_breaker", "concurrency", `"0"`}},
		{"concurrency 1 1 2h", "", []string{"edge_breaker", "queue", "2h"}},
		{"status 200", "", []string{"edge_breaker", "status", `"200"`}},
		{"fallback a 99", "", []string{"edge_breaker", "fallback", `"99"`}},
		{"status 502\nfallback soon", "", []string{"edge_breaker", "fallback", "status"}},
		{"failures 3\nfailures 4", "", []string{"edge_breaker", "failures: given more than once"}},
		{"speed 5", "", []string{"edge_breaker", `unknown option "speed"`}},
		{"", "fastest", []string{"lb_policy edge", `"fastest"`}},
		{"", "wrr p2c", []string{"lb_policy edge"}},
		{"", "{\nweights 1\n}", []string{"lb_policy edge: weights:", "2 upstreams"}},
		{"", "{\nweights 1 0\n}", []string{"lb_policy edge: weights:", `"0"`}},
		{"", "{\nweights\n}", []string{"lb_policy edge: weights:"}},
		{"", "{\nspeed 5\n}", []string{"lb_policy edge:", `unknown option "speed"`}},
		{"", "{\nupstreams allow_loopback\n}", []string{"lb_policy edge: upstreams: allow_loopback:"}},
	} {
		err := b.reload(breakerOptions{rules: bad.rules, policy: bad.policy})
		require.Error(t, err, "%s %s", bad.rules, bad.policy)
		for _, part := range bad.says {
			require.ErrorContains(t, err, part, "%s %s", bad.rules, bad.policy)
		}
	}
	require.Equal(t, map[int]int{http.StatusOK: 10}, b.gets(10, "/page"))
	require.Equal(t, []int{0, 10}, b.arrived("/page"), "the running config stays, with its orders")
}
