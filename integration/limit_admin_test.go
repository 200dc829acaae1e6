package integration

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
)

// operate posts to the admin endpoint.
func (c *cachedEdge) operate(path string, in any) (int, string) {
	c.t.Helper()
	status, body := c.Admin(http.MethodPost, path, in)
	return status, string(body)
}

func TestShadowModeRefusesNobodyAndTells(t *testing.T) {
	t.Parallel()
	c := startLimited(t, "edge_limit 3/h {\nmode shadow\n}")
	for range 10 {
		got := c.get("/page")
		require.Equal(t, http.StatusOK, got.Status)
		require.Equal(t, "ok", string(got.Body))
	}
	require.Equal(t, http.StatusOK, c.get("/page?last").Status)
	z := c.zones()["default"]
	require.Equal(t, []any{"shadow", 3, 0, 8}, []any{z.Mode, z.Allowed, z.Denied, z.Shadow})
	m := c.Metrics()
	require.InDelta(t, 8, m[`caddy_edge_limit_decisions_total{decision="shadow",zone="default"}`], 0)
	require.InDelta(t, 0, m[`caddy_edge_limit_decisions_total{decision="deny",zone="default"}`], 0)
	require.InDelta(t, 8, m[`caddy_edge_limit_refusals_total{reason="rate",zone="default"}`], 0)
	notice := c.WaitLog(isNotice)
	require.Equal(t, []any{"default", "127.0.0.1", "rate", "shadow"}, []any{notice["zone"], notice["key"], notice["reason"], notice["mode"]})
	access := c.WaitLog(isAccess("/page?last"))
	require.Equal(t, []any{"default", "rate", "shadow"}, []any{access["edge_limit"], access["edge_limit_reason"], access["edge_limit_mode"]})
}

func TestShadowZoneBesideAnEnforcedOne(t *testing.T) {
	t.Parallel()
	c := startLimited(t, `edge_limit {
		zone tried 1/h {
			mode        shadow
			concurrency 1
			penalty     1h
		}
		zone real 4/h
	}`)
	got := requireAllowed(t, 4, func() *harness.Response { return c.get("/page") })
	requireRefusal(t, got, "real", 4, 3600, 600, 900)
	z := c.zones()
	require.Equal(t, 4, z["real"].Allowed)
	require.Equal(t, 1, z["real"].Denied)
	require.Equal(t, 1, z["tried"].Allowed)
	require.Equal(t, 4, z["tried"].Shadow)
	require.Zero(t, z["tried"].InFlight)
}

func TestModeIsChangedAtRunTime(t *testing.T) {
	t.Parallel()
	const limits = "edge_limit 3/h"
	c := startLimited(t, limits)
	requireAllowed(t, 3, func() *harness.Response { return c.get("/page") })
	mode := func(to, now string) {
		t.Helper()
		status, body := c.operate("/edge/limit/mode", map[string]string{"mode": to})
		require.Equal(t, http.StatusOK, status, body)
		require.JSONEq(t, `{"zone":"default","mode":"`+now+`"}`, body)
		require.Equal(t, now, c.zones()["default"].Mode)
		require.Equal(t, "enforce", c.zones()["default"].Configured)
	}
	mode("shadow", "shadow")
	require.Equal(t, http.StatusOK, c.get("/page").Status)
	require.Equal(t, 1, c.zones()["default"].Shadow)
	mode("off", "off")
	require.Equal(t, http.StatusOK, c.get("/page").Status)
	require.Equal(t, 1, c.zones()["default"].Shadow, "what is off counts nothing")
	require.NoError(t, c.Reload(limitedSite))
	require.Equal(t, "off", c.zones()["default"].Mode, "an operator's word holds over a reload")
	require.Equal(t, http.StatusOK, c.get("/page").Status)
	mode("", "enforce")
	require.Equal(t, http.StatusTooManyRequests, c.get("/page").Status)
	c.WaitLog(func(e harness.Entry) bool { return e["msg"] == "changed the mode of a limit" && e["mode"] == "off" })
}

func TestInspectTopAndReset(t *testing.T) {
	t.Parallel()
	c := startLimited(t, `edge_limit {
		zone address 3/h
		zone token 3/h {
			match /token
			key   "{client_ip} {header.Authorization}"
		}
	}`)
	fresh := c.inspect("address", "192.0.2.1")
	require.True(t, fresh.Allowed)
	require.Equal(t, 3, fresh.Remaining)

	a, b := c.ClientFrom("127.0.0.3"), c.ClientFrom("127.0.0.4")
	requireAllowed(t, 3, c.through(a, "/page"))
	for range 4 {
		require.Equal(t, http.StatusTooManyRequests, c.through(a, "/page")().Status)
	}
	requireAllowed(t, 3, c.through(b, "/token", "Authorization: Bearer secret"))
	s := c.inspect("address", "127.0.0.3")
	require.False(t, s.Allowed)
	require.Zero(t, s.Remaining)
	require.InDelta(t, 1150, s.RetryAfter, 50)

	var top struct {
		Keys []struct {
			Zone, Key, ID string
			Refused       int
		}
	}
	c.ask("/edge/limit/top?zone=address", &top)
	require.Len(t, top.Keys, 2)
	require.Equal(t, []any{"address", "127.0.0.3", 5}, []any{top.Keys[0].Zone, top.Keys[0].Key, top.Keys[0].Refused})
	require.Equal(t, s.ID, top.Keys[0].ID)
	require.Equal(t, []any{"127.0.0.4", 1}, []any{top.Keys[1].Key, top.Keys[1].Refused})
	c.ask("/edge/limit/top?limit=1", &top)
	require.Len(t, top.Keys, 1)
	c.ask("/edge/limit/top?zone=token", &top)
	require.Len(t, top.Keys, 1)
	require.True(t, strings.HasPrefix(top.Keys[0].Key, "127.0.0.4|sha256:"), top.Keys[0].Key)

	reset := func(in map[string]any, known string) {
		t.Helper()
		status, body := c.operate("/edge/limit/reset", in)
		require.Equal(t, http.StatusOK, status, body)
		require.JSONEq(t, `{"reset":`+known+`}`, body)
	}
	reset(map[string]any{"zone": "address", "key": []string{"127.0.0.3"}}, "true")
	requireAllowed(t, 3, c.through(a, "/page"))
	reset(map[string]any{"zone": "address", "key": []string{"127.0.0.4"}}, "true")
	require.Equal(t, http.StatusTooManyRequests, c.through(b, "/token", "Authorization: Bearer secret")().Status)
	reset(map[string]any{"zone": "token", "id": top.Keys[0].ID}, "true")
	require.Equal(t, http.StatusOK, c.through(b, "/token", "Authorization: Bearer secret")().Status)
	reset(map[string]any{"zone": "address", "key": []string{"192.0.2.1"}}, "false")
}

func TestAdminRefusesWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	c := startLimited(t, "edge_limit 3/h")
	for _, tc := range []struct {
		method, path string
		in           any
		status       int
		says         string
	}{
		{http.MethodGet, "/edge/limit/key", nil, 400, "want key or id"},
		{http.MethodGet, "/edge/limit/key?zone=none&key=a", nil, 404, `none named \"none\"`},
		{http.MethodGet, "/edge/limit/key?key=127.0.0.1&key=b", nil, 400, "want 1 value, got 2"},
		{http.MethodGet, "/edge/limit/key?id=xyz", nil, 400, `\"xyz\"`},
		{http.MethodGet, "/edge/limit/top?limit=0", nil, 400, `\"0\"`},
		{http.MethodGet, "/edge/limit/top?limit=1e9", nil, 400, `\"1e9\"`},
		{http.MethodGet, "/edge/limit/top?zone=none", nil, 404, `\"none\"`},
		{http.MethodPost, "/edge/limit/mode", map[string]string{"mode": "on"}, 400, `\"on\"`},
		{http.MethodPost, "/edge/limit/mode", map[string]string{"zone": "none", "mode": "off"}, 404, `\"none\"`},
		{http.MethodPost, "/edge/limit/mode", map[string]string{"mood": "off"}, 400, "mood"},
		{http.MethodPost, "/edge/limit/reset", map[string]string{}, 400, "want key or id"},
		{http.MethodGet, "/edge/limit/reset", nil, 405, "method"},
		{http.MethodPost, "/edge/limit/zones", nil, 405, "method"},
	} {
		status, body := c.Admin(tc.method, tc.path, tc.in)
		require.Equal(t, tc.status, status, "%s %s: %s", tc.method, tc.path, body)
		require.Contains(t, string(body), tc.says, "%s %s", tc.method, tc.path)
	}
	require.Equal(t, "enforce", c.zones()["default"].Mode)
}

func TestOneLogLinePerClientAndInterval(t *testing.T) {
	t.Parallel()
	c := startLimited(t, "edge_limit 3/h {\nnotice 1h\n}")
	a, b := c.ClientFrom("127.0.0.3"), c.ClientFrom("127.0.0.4")
	requireAllowed(t, 3, c.through(a, "/page"))
	for range 19 {
		require.Equal(t, http.StatusTooManyRequests, c.through(a, "/page")().Status)
	}
	requireAllowed(t, 3, c.through(b, "/page"))
	// A rejected and a good reload let nobody be reported again.
	require.Error(t, c.Reload(limitedSite, harness.Vars{"limits": "edge_limit nonsense"}))
	require.NoError(t, c.Reload(limitedSite, harness.Vars{"limits": "edge_limit 3/h {\nnotice 1h\n}"}))
	require.Equal(t, http.StatusTooManyRequests, c.through(a, "/page?last")().Status)
	access := c.WaitLog(isAccess("/page?last")) // comes after whatever the limit has to say
	require.Equal(t, []any{"default", "rate", "enforce"}, []any{access["edge_limit"], access["edge_limit_reason"], access["edge_limit_mode"]})
	var keys []any
	for _, e := range c.Logs() {
		if isNotice(e) {
			keys = append(keys, e["key"])
			require.Equal(t, "warn", e["level"])
		}
	}
	require.Equal(t, []any{"127.0.0.3", "127.0.0.4"}, keys)
}

func TestMetricsHoldNoClients(t *testing.T) {
	t.Parallel()
	c := startLimited(t, `edge_limit {
		zone address 3/h
		zone token 3/h {
			match /token
			key {header.X-Api-Key}
		}
		zone few {
			concurrency 1
		}
	}`)
	a := c.ClientFrom("127.0.0.3")
	requireAllowed(t, 3, c.through(a, "/page"))
	requireAllowed(t, 3, c.through(c.ClientFrom("127.0.0.4"), "/token", "X-Api-Key: tellme"))
	gate, held := c.hold("/slow", 1)
	require.Equal(t, http.StatusTooManyRequests, c.get("/page").Status)
	m := c.Metrics()
	gate.Open()
	held.responses()
	for series, want := range map[string]float64{
		`caddy_edge_limit_decisions_total{decision="allow",zone="address"}`: 7,
		`caddy_edge_limit_decisions_total{decision="deny",zone="address"}`:  2,
		`caddy_edge_limit_decisions_total{decision="allow",zone="token"}`:   3,
		`caddy_edge_limit_decisions_total{decision="deny",zone="token"}`:    1,
		`caddy_edge_limit_decisions_total{decision="deny",zone="few"}`:      1,
		`caddy_edge_limit_refusals_total{reason="rate",zone="address"}`:     2,
		`caddy_edge_limit_refusals_total{reason="concurrency",zone="few"}`:  1,
		`caddy_edge_limit_refusals_total{reason="penalty",zone="few"}`:      0,
		`caddy_edge_limit_in_flight{zone="few"}`:                            1,
		`caddy_edge_limit_in_flight_keys{zone="few"}`:                       1,
		`caddy_edge_limit_evictions_total{zone="address"}`:                  0,
	} {
		require.Contains(t, m, series)
		require.InDelta(t, want, m[series], 0, series)
	}
	for series := range m {
		if strings.HasPrefix(series, "caddy_edge_") {
			require.NotContains(t, series, "127.0.0.")
			require.NotContains(t, series, "tellme")
		}
	}
}
