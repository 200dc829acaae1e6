package edgewaf

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddyedge/caddy-edge/internal/eventtest"
	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

func TestRefusal(t *testing.T) {
	g := newWafRig(t, `"basic": "off", "status": 451`)
	r := browse("GET", bad, "")
	w := g.do(r)
	require.Equal(t, 451, w.Code)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	id, _ := g.repl.GetString("http.request.uuid")
	require.JSONEq(t, fmt.Sprintf(`{"error": "blocked by WAF", "rule_id": "942100", "request_id": %q}`, id), w.Body.String())
	require.Empty(t, g.do(browse("HEAD", bad, "")).Body.String())
	require.Zero(t, g.asked)
}

func TestRefusalByErrorRoutes(t *testing.T) {
	for _, test := range []struct {
		respond string
		routes  bool
		byError bool
	}{{"auto", false, false}, {"auto", true, true}, {"direct", true, false}, {"error", false, true}} {
		g := newWafRig(t, fmt.Sprintf(`"basic": "off", "respond": %q`, test.respond))
		if test.routes {
			g.server.Errors = &caddyhttp.HTTPErrorConfig{Routes: caddyhttp.RouteList{{}}}
		}
		w := g.do(browse("GET", bad, ""))
		require.Equal(t, http.StatusForbidden, w.Code)
		require.Equal(t, test.byError, w.Header().Get("Content-Type") != "application/json", test)
		for name, want := range map[string]any{"rule_id": "942100", "action": "block", "phase": "request"} {
			got, ok := g.repl.Get("http.edge_waf." + name)
			require.True(t, ok)
			require.Equal(t, want, got)
		}
		score, _ := g.repl.Get("http.edge_waf.score")
		require.GreaterOrEqual(t, score, 5)
	}
}

// TestPlaceholders are empty when no rule has found anything.
func TestPlaceholders(t *testing.T) {
	g := newWafRig(t, "")
	g.do(browse("GET", "/", ""))
	for _, name := range []string{"rule_id", "action", "phase"} {
		value, ok := g.repl.Get("http.edge_waf." + name)
		require.True(t, ok, name)
		require.Empty(t, value)
	}
}

// TestPlaceholdersOfRequestsNotLookedAt: they are empty, but not unknown.
func TestPlaceholdersOfRequestsNotLookedAt(t *testing.T) {
	for _, options := range []string{
		`"mode": "off"`, `"sample": 1e-300`, `"rules": [{"action": "skip", "all": true, "match": [{"path": ["/*"]}]}]`,
	} {
		g := newWafRig(t, options)
		require.Equal(t, http.StatusOK, g.do(browse("GET", bad, "")).Code)
		id, _ := g.repl.GetString("http.request.uuid")
		require.Equal(t, "- "+id, g.repl.ReplaceKnown("{http.edge_waf.rule_id}-{http.edge_waf.phase} {http.edge_waf.request_id}", ""), options)
	}
}

// TestPlaceholdersOfTwoFirewalls: the one that has found something is the one they tell of.
func TestPlaceholdersOfTwoFirewalls(t *testing.T) {
	for _, modes := range [][2]string{{"off", "enforce"}, {"shadow", "off"}, {"shadow", "enforce"}} {
		first, second := newWafRig(t, `"mode": "`+modes[0]+`", "crs": {"off": true}`), newWafRig(t, `"mode": "`+modes[1]+`", "basic": "off"`)
		first.origin = func(w http.ResponseWriter, r *http.Request) error {
			return second.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil }))
		}
		first.do(browse("GET", bad, "", "X-Api: ${jndi:ldap://a/b}"))
		rule, _ := first.repl.GetString("http.edge_waf.rule_id")
		require.NotEmpty(t, rule, modes)
		require.Equal(t, modes[0] == "shadow", !strings.HasPrefix(rule, "9"), rule)
	}
}

// TestLogOfDecisions: what is told, and that no secret is.
func TestLogOfDecisions(t *testing.T) {
	g := newWafRig(t, `"basic": "off"`)
	core, logs := observer.New(zapcore.InfoLevel)
	g.logger = zap.New(core)
	require.Equal(t, http.StatusOK, g.do(browse("GET", "/", "")).Code)
	require.Zero(t, logs.Len(), "nothing is said of ordinary requests")
	g.do(browse("POST", "/login?next=%2F", "password="+strings.ReplaceAll(attack, " ", "+"), "Content-Type: application/x-www-form-urlencoded", "Cookie: sid=topsecret"))
	require.Equal(t, 1, logs.Len())
	line := logs.All()[0]
	require.Equal(t, "blocked a request", line.Message)
	require.Equal(t, zapcore.WarnLevel, line.Level)
	text, err := json.Marshal(line.ContextMap()["waf"])
	require.NoError(t, err)
	require.Contains(t, string(text), `"rule_id":"942100"`)
	require.Contains(t, string(text), `"variable":"ARGS:password"`)
	require.Contains(t, string(text), `"excerpt":"[redacted]"`)
	for _, secret := range []string{"union", "topsecret", "next="} {
		require.NotContains(t, string(text), secret)
	}
	require.Contains(t, string(text), `"path":"/login"`)
	require.Contains(t, string(text), `"client":"192.0.2.1"`)
}

func TestLogIsBounded(t *testing.T) {
	g := newWafRig(t, `"basic": "off", "log_rate": 3`)
	now := time.Unix(1000, 0)
	for i := range 10 {
		require.Equal(t, i < 3, g.state.mayLog(3, now))
	}
	require.EqualValues(t, 7, g.state.dropped.Load())
	require.True(t, g.state.mayLog(3, now.Add(time.Second)))
}

// TestMetricsOfDecisions: each firewall counts for itself, under its name.
func TestMetricsOfDecisions(t *testing.T) {
	g, other := newWafRig(t, `"basic": "off"`), newWafRig(t, `"basic": "off"`)
	g.do(browse("GET", bad, ""))
	g.do(browse("GET", "/", ""))
	for name, want := range map[string]float64{g.Name: 1, other.Name: 0} {
		c := wafMetrics()
		require.InDelta(t, want, testutil.ToFloat64(c.decisions.WithLabelValues(name, "942100", actBlock)), 0)
		for _, o := range []outcome{outcomeBlocked, outcomePassed} {
			require.InDelta(t, want, testutil.ToFloat64(c.requests.WithLabelValues(name, o.String())), 0)
		}
	}
}

// TestMetricsGoWithTheirFirewall: names that no config has any more leave nothing behind.
func TestMetricsGoWithTheirFirewall(t *testing.T) {
	c := wafMetrics()
	all := []prometheus.Collector{c.requests, c.decisions, c.cut, c.dropped, c.duration, c.score}
	before := make([]int, len(all))
	for i := range all {
		before[i] = testutil.CollectAndCount(all[i])
	}
	require.NoError(t, reloadtest.Load(t, wafConfig(`"basic": "off"`, "")))
	require.Equal(t, http.StatusForbidden, serveBy(t, runningFirewall(t), browse("GET", bad, "")))
	for i := range all {
		require.Greater(t, testutil.CollectAndCount(all[i]), before[i])
	}
	require.NoError(t, reloadtest.Load(t, `{}`))
	for i := range all {
		require.Equal(t, before[i], testutil.CollectAndCount(all[i]), "collector %d", i)
	}
}

// TestWafEvents: what subscribers of Caddy's events app are told, once for each client,
// rule and action.
func TestWafEvents(t *testing.T) {
	require.NoError(t, reloadtest.Load(t, `{"apps": {
		"events": {"subscriptions": [{"events": ["edge_waf_blocked"], "handlers": [{"handler": "edge_test_probe"}]}]},
		"http": {"servers": {"a": {"listen": ["127.0.0.1:0"], "routes": [{"handle": [
			{"handler": "edge_waf", "name": "told", "crs": {"off": true}, "basic": "off", "rules": [
				{"action": "block", "id": "a", "match": [{"path": ["/a"]}]}, {"action": "log", "id": "b", "match": [{"path": ["/b"]}]},
				{"action": "block", "id": "c", "match": [{"path": ["/c"]}]}, {"action": "shadow", "ids": ["c"]}]}]}]}}}}}`))
	f, err := firewallOfName("told")
	require.NoError(t, err)
	for range 3 {
		for _, target := range []string{"/a", "/b", "/c"} {
			w, r := httptest.NewRecorder(), request("GET", target)
			r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, new(caddyhttp.Server))
			caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "192.0.2.1")
			caddyhttp.SetVar(r.Context(), findingsVar, &findings{id: "x"})
			require.NoError(t, f.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })))
		}
	}
	eventtest.Require(t,
		"edge_waf_blocked map[action:block client:192.0.2.1 firewall:told phase:request request_id:x rule_id:a]",
		"edge_waf_blocked map[action:shadow client:192.0.2.1 firewall:told phase:request request_id:x rule_id:c]",
	)
}
