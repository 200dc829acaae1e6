package edgewaf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgewaf/audit"
	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// wafConfig is a config with a firewall and more servers.
func wafConfig(options, servers string) string {
	return fmt.Sprintf(`{"apps": {"http": {"servers": {"a": {"listen": ["127.0.0.1:0"], "automatic_https": {"disable": true},
		"routes": [{"handle": [{"handler": "edge_waf", "name": "operated"%s}]}]}%s}}}}`, prefixed(options), servers)
}

// runningFirewall is the one of the running config.
func runningFirewall(t *testing.T) *Firewall {
	t.Helper()
	f, err := firewallOfName("operated")
	require.NoError(t, err)
	return f
}

// serveBy sends a request through a firewall and returns the status.
func serveBy(t *testing.T, f *Firewall, r *http.Request) int {
	t.Helper()
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, new(caddyhttp.Server))
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "192.0.2.1")
	require.NoError(t, f.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })))
	return w.Code
}

// TestWafReload: what an operator set, counters and events go over from config A past a
// rejected B to C, and rules are compiled once.
func TestWafReload(t *testing.T) {
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer occupied.Close()
	require.NoError(t, reloadtest.Load(t, wafConfig(`"basic": "off"`, "")))
	first := runningFirewall(t)
	engine := first.engine.Value()
	require.Equal(t, http.StatusForbidden, serveBy(t, first, browse("GET", bad, "")))
	var reply struct{ Mode string }
	require.NoError(t, ask(t, http.MethodPost, "/edge/waf/mode", `{"firewall": "operated", "mode": "shadow"}`, &reply))
	require.Equal(t, "shadow", reply.Mode)
	require.Equal(t, http.StatusOK, serveBy(t, first, browse("GET", bad, "")))

	// Rejected when everything is provisioned, and before.
	require.Error(t, reloadtest.Load(t, wafConfig(`"mode": "off"`, fmt.Sprintf(`, "b": {"listen": [%q]}`, occupied.Addr()))))
	require.Error(t, reloadtest.Load(t, wafConfig(`"mode": "off", "crs": {"include": ["/nowhere"]}`, "")))
	require.Same(t, first, runningFirewall(t))
	require.Equal(t, levelShadow, first.effective())

	require.NoError(t, reloadtest.Load(t, wafConfig(`"basic": "off", "status": 404`, "")))
	second := runningFirewall(t)
	require.NotSame(t, first, second)
	require.Same(t, engine, second.engine.Value(), "nothing was compiled again")
	require.Equal(t, levelShadow, second.effective())
	require.EqualValues(t, 2, second.state.total())
	require.EqualValues(t, 1, second.state.counts[outcomeBlocked].Load())

	require.NoError(t, ask(t, http.MethodPost, "/edge/waf/mode", `{"firewall": "operated", "mode": ""}`, &reply))
	require.Equal(t, "enforce", reply.Mode)
	require.Equal(t, http.StatusNotFound, serveBy(t, second, browse("GET", bad, "")))
	// A config with another mode ends what an operator set.
	require.NoError(t, ask(t, http.MethodPost, "/edge/waf/mode", `{"firewall": "operated", "mode": "off"}`, &reply))
	require.NoError(t, reloadtest.Load(t, wafConfig(`"mode": "shadow"`, "")))
	require.Equal(t, levelShadow, runningFirewall(t).effective())
	require.NoError(t, reloadtest.Load(t, wafConfig("", "")))
	require.Equal(t, levelEnforce, runningFirewall(t).effective())
	reloadtest.Stop(t)
	require.Zero(t, pooled(), "no rule set is left behind")
}

func TestDowngrade(t *testing.T) {
	write := func(version string) string {
		return file(t, "pack.yaml", []byte("pack: {name: p, version: "+version+"}\nmode: enforce\nrules:\n  - {id: x, match: {any: [{method: X}]}, action: {type: log}}\n"))
	}
	require.NoError(t, reloadtest.Load(t, wafConfig(`"crs": {"off": true}, "packs": ["`+write("1.2.0")+`"]`, "")))
	running := runningFirewall(t)
	old := write("1.1.0")
	err := reloadtest.Load(t, wafConfig(`"crs": {"off": true}, "packs": ["`+old+`"]`, ""))
	require.ErrorContains(t, err, "1.1.0")
	require.ErrorContains(t, err, "say downgrade to have it so")
	require.Same(t, running, runningFirewall(t))
	require.NoError(t, reloadtest.Load(t, wafConfig(`"crs": {"off": true}, "downgrade": true, "packs": ["`+old+`"]`, "")))
	require.NotSame(t, running, runningFirewall(t))
}

func TestWafRoutes(t *testing.T) {
	require.NoError(t, reloadtest.Load(t, wafConfig(`"rules": [{"action": "block", "id": "m", "match": [{"path": ["/m"]}]}]`, "")))
	f := runningFirewall(t)
	serveBy(t, f, browse("GET", bad, ""))
	serveBy(t, f, browse("GET", "/m", ""))
	serveBy(t, f, browse("GET", "/", ""))

	var status struct {
		Firewalls []wafReply `json:"firewalls"`
		RuleSets  []setReply `json:"rule_sets"`
	}
	require.NoError(t, ask(t, http.MethodGet, "/edge/waf/status", "", &status))
	require.Len(t, status.Firewalls, 1)
	require.Len(t, status.RuleSets, 1)
	require.EqualValues(t, 2, status.Firewalls[0].Requests["blocked"])
	require.EqualValues(t, 1, status.Firewalls[0].Requests["passed"])
	require.Equal(t, status.RuleSets[0].Key, status.Firewalls[0].RuleSet)
	require.Greater(t, status.RuleSets[0].Rules, 300)
	require.Positive(t, status.RuleSets[0].CompileSeconds)
	require.Equal(t, "basic", status.Firewalls[0].Packs[0].Name)

	var list struct{ Rules []ruleReply }
	require.NoError(t, ask(t, http.MethodGet, "/edge/waf/rules?firewall=operated&found=true", "", &list))
	var found []string
	for _, r := range list.Rules {
		found = append(found, r.ID)
		require.Positive(t, r.Counts.Blocked)
	}
	require.Contains(t, found, "m")
	require.NoError(t, ask(t, http.MethodGet, "/edge/waf/rules?firewall=operated&tag=attack-xss", "", &list))
	require.Greater(t, len(list.Rules), 10)
	for _, r := range list.Rules {
		require.Contains(t, r.Tags, "attack-xss")
	}

	var events struct{ Events []audit.Event }
	require.NoError(t, ask(t, http.MethodGet, "/edge/waf/events?firewall=operated", "", &events))
	require.Len(t, events.Events, 2)
	require.Equal(t, "m", events.Events[0].Rule)
	for query, n := range map[string]int{"n=1": 1, "rule=m": 1, "rule=x": 0, "action=block": 2, "action=log": 0, "client=192.0.2.1": 2, "client=192.0.2.2": 0} {
		require.NoError(t, ask(t, http.MethodGet, "/edge/waf/events?firewall=operated&"+query, "", &events))
		require.Len(t, events.Events, n, query)
	}
	for _, test := range []struct{ method, path, body, err string }{
		{http.MethodGet, "/edge/waf/events?firewall=x", "", `firewall: there is none named "x"`},
		{http.MethodGet, "/edge/waf/events?firewall=operated&n=0", "", `n: invalid value "0"`},
		{http.MethodPost, "/edge/waf/mode", `{"firewall": "operated"}`, "mode: want enforce, shadow or off"},
		{http.MethodPost, "/edge/waf/mode", `{"firewall": "operated", "mode": "on"}`, `mode: unknown mode "on"`},
		{http.MethodPost, "/edge/waf/explain", `{"firewall": "operated", "uri": "no path"}`, `uri: invalid value "no path"`},
		{http.MethodPost, "/edge/waf/explain", `{"firewall": "operated", "body": "x", "body_base64": "eA=="}`, "body: there is a body_base64 too"},
		{http.MethodPost, "/edge/waf/explain", `{"firewall": "operated", "client": "x"}`, `client: invalid value "x"`},
	} {
		require.ErrorContains(t, ask(t, test.method, test.path, test.body, nil), test.err)
	}
}

func TestExplain(t *testing.T) {
	require.NoError(t, reloadtest.Load(t, wafConfig(`"rules": [
		{"action": "block", "id": "m", "match": [{"path": ["/m"], "remote_ip": {"ranges": ["198.51.100.0/24"]}}]},
		{"action": "skip", "all": true, "match": [{"path": ["/skip"]}]}]`, "")))
	f := runningFirewall(t)
	before := f.state.total()
	var reply explainReply
	explain := func(request string) explainReply {
		t.Helper()
		reply = explainReply{}
		require.NoError(t, ask(t, http.MethodPost, "/edge/waf/explain", `{"firewall": "operated", "header": {"User-Agent": ["Firefox"], "Accept": ["*/*"]}, `+request+`}`, &reply))
		return reply
	}
	explain(`"uri": "/search?q=1%27+union+select+password+from+users--+-"`)
	require.Equal(t, "block", reply.Action)
	require.Equal(t, http.StatusForbidden, reply.Status)
	require.GreaterOrEqual(t, reply.Score, 5)
	lines := make(map[string]string)
	for _, finding := range reply.Findings {
		lines[finding.Rule] = finding.Exclude
	}
	require.Equal(t, "exclude rule 942100 param q path /search", lines["942100"])
	require.Equal(t, "skip rule basic-sql-injection", lines["basic-sql-injection"], "%v", lines)

	require.Equal(t, "pass", explain(`"uri": "/"`).Action)
	require.Equal(t, "skip", explain(`"uri": "/skip"`).Action)
	require.Equal(t, "pass", explain(`"uri": "/m"`).Action)
	require.Equal(t, "m", explain(`"uri": "/m", "client": "198.51.100.7"`).Rule)
	require.Equal(t, "block", explain(`"method": "POST", "uri": "/", "header": {"Content-Type": ["application/json"], "Accept": ["*/*"], "User-Agent": ["x"]}, "body": "{\"q\":\"1' union select password from users-- -\"}"`).Action)
	require.Equal(t, before, f.state.total(), "nothing is counted")
	require.Zero(t, f.state.counts[outcomePassed].Load())

	// The lines silence what they are said to silence.
	var exclude []string
	for _, line := range lines {
		if strings.HasPrefix(line, "exclude") {
			exclude = append(exclude, line)
		}
	}
	parsed, err := parseWaf("{\nbasic off\ncrs {\n" + strings.Join(exclude, "\n") + "\n}\n}")
	require.NoError(t, err)
	names++
	g, cleanup, err := provisionFirewall(strings.Replace(parsed, `"default"`, fmt.Sprintf(`"rig-%d"`, names), 1))
	require.NoError(t, err)
	defer cleanup()
	require.Equal(t, http.StatusOK, serveBy(t, g, browse("GET", bad, "")))
}

func TestTuneReadsLogs(t *testing.T) {
	log := `{"level":"info","msg":"something else"}
not JSON
{"level":"info","msg":"would have blocked a request","waf":{"action":"shadow","client":"192.0.2.1","path":"/search","rule_id":"942100","findings":[{"rule_id":"942100","variable":"ARGS:q","message":"SQL"}]}}
{"level":"info","msg":"would have blocked a request","waf":{"action":"shadow","client":"192.0.2.2","path":"/search","rule_id":"942100","findings":[{"rule_id":"942100","variable":"ARGS:q","message":"SQL"}]}}
{"waf":{"action":"shadow","client":"192.0.2.2","path":"/","rule_id":"basic-xss","findings":[{"rule_id":"basic-xss","variable":"param q","message":"XSS"},{"rule_id":"budget"}]}}
`
	run := func(in string, args ...string) (string, error) {
		cmd := wafCommand()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetIn(strings.NewReader(in))
		cmd.SetArgs(append([]string{"tune"}, args...))
		err := cmd.Execute()
		return out.String(), err
	}
	out, err := run(log, "-")
	require.NoError(t, err)
	require.Equal(t, "# 3 events in 5 lines\n\n# For the block crs of edge_waf:\n\n# 2 times, from 2 clients: SQL\n# such as /search\nexclude rule 942100 param q path /search\n"+
		"\n# For edge_waf itself, outside of the block crs:\n\n# 1 times, from 1 clients: XSS\n# such as /\nskip rule basic-xss\n", out)
	out, err = run("", file(t, "log", []byte(log)), "--json")
	require.NoError(t, err)
	require.JSONEq(t, `[{"line": "exclude rule 942100 param q path /search", "findings": 2, "clients": 2, "message": "SQL", "example": "/search"},
		{"line": "skip rule basic-xss", "findings": 1, "clients": 1, "message": "XSS", "example": "/"}]`, out)
	out, err = run(log, "-", "--min", "2")
	require.NoError(t, err)
	require.NotContains(t, out, "skip")
	out, err = run(log, "-", "--max", "1")
	require.NoError(t, err)
	require.NotContains(t, out, "skip")
	_, err = run("", file(t, "log", []byte("nothing\n")))
	require.ErrorContains(t, err, "none of its 1 lines is an event of edge_waf in JSON")
	_, err = run(log, "-", "--min", "4")
	require.NoError(t, err)
	_, err = run(strings.Repeat("x", maxLogLine+1), "-")
	require.ErrorContains(t, err, "line 1: longer than")
}

// TestCommandSendsBytes: content of a file comes as it is, text or not.
func TestCommandSendsBytes(t *testing.T) {
	content := []byte("q=\xff\xfe\x00&a=b")
	var got []byte
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q explainRequest
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		dry, err := q.request(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		got, _ = io.ReadAll(dry.Body)
		fmt.Fprint(w, `{"findings": [{"rule_id": "budget"}]}`)
	}))
	defer admin.Close()
	for data, want := range map[string][]byte{"@" + file(t, "body", content): content, "a=é": []byte("a=é")} {
		cmd := wafCommand()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs([]string{"test", "POST /", "-d", data, "--address", strings.TrimPrefix(admin.URL, "http://")})
		require.NoError(t, cmd.Execute(), out.String())
		require.Equal(t, want, got)
		require.NotContains(t, out.String(), "silence")
	}
}

// TestEventsCommandSaysWhere: which argument a rule found something in is told, what was in
// it only where its name is not that of a secret.
func TestEventsCommandSaysWhere(t *testing.T) {
	require.NoError(t, reloadtest.Load(t, wafConfig(`"basic": "off"`, "")))
	f := runningFirewall(t)
	require.Equal(t, http.StatusForbidden, serveBy(t, f, browse("GET", "/login?password=hunter2%27+or+1%3D1+union+select+1--+-", "")))
	require.Equal(t, http.StatusForbidden, serveBy(t, f, browse("GET", bad, "")))
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = serveWafEvents(w, r) }))
	defer admin.Close()
	run := func(args ...string) string {
		cmd := wafCommand()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs(append([]string{"events", "--firewall", "operated", "--address", strings.TrimPrefix(admin.URL, "http://")}, args...))
		require.NoError(t, cmd.Execute(), out.String())
		return out.String()
	}
	out := run()
	require.Contains(t, out, "\n  942100 in ARGS:password: SQL Injection Attack Detected via libinjection: [redacted]\n")
	require.NotContains(t, out, "hunter2")
	require.Contains(t, out, "\n  942100 in ARGS:q: SQL Injection Attack Detected via libinjection: 1' union select")
	var events []audit.Event
	require.NoError(t, json.Unmarshal([]byte(run("--json", "-n", "1")), &events))
	require.Len(t, events, 1)
	require.Equal(t, "ARGS:q", events[0].Findings[0].Variable)
}
