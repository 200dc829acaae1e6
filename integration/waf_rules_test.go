package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
)

// browser are fields of a browser.
var browser = []string{
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
	"Accept-Language: en-US,en;q=0.5", "Accept-Encoding: gzip, deflate, br, zstd", "Cookie: session=3f2a9c; theme=dark",
}

// TestWafByDefault: without any option attacks are refused and ordinary use is not.
func TestWafByDefault(t *testing.T) {
	t.Parallel()
	c := startWaffed(t, "edge_waf", "")
	const (
		form = "Content-Type: application/x-www-form-urlencoded"
		json = "Content-Type: application/json"
	)
	type call struct{ method, target, content, fields string }
	attacks := map[string]call{
		"SQL in the query":       {"GET", "/search" + attack, "", ""},
		"SQL in a form":          {"POST", "/login", "user=admin&password=1'+or+'1'%3d'1'--+-", form},
		"SQL in JSON":            {"POST", "/api/users", `{"name": "1' union select password from users-- -"}`, json},
		"a script in the query":  {"GET", "/?q=%3Cscript%3Ealert(document.cookie)%3C%2Fscript%3E", "", ""},
		"a script in JSON":       {"POST", "/api/notes", `{"text": "<img src=x onerror=alert(1)>"}`, json},
		"traversal in the query": {"GET", "/view?file=../../../etc/passwd", "", ""},
		"traversal, encoded":     {"GET", "/view?file=%252e%252e%252f%252e%252e%252fetc%252fpasswd", "", ""},
		"traversal in the path":  {"GET", "/static/..%2f..%2fetc%2fpasswd", "", ""},
		"a scanner":              {"GET", "/", "", "User-Agent: sqlmap/1.7"},
		"a command":              {"GET", "/ping?host=127.0.0.1%3Bcat%20%2Fetc%2Fpasswd", "", ""},
	}
	ordinary := map[string]call{
		"a page":            {"GET", "/products/red-shoes?size=42&sort=price&page=2", "", ""},
		"a search":          {"GET", "/search?q=how+to+select+a+union+for+o%27brien", "", ""},
		"a login":           {"POST", "/login", "user=jane.doe%40example.com&password=Correct-Horse7", form},
		"PUT":               {"PUT", "/api/users/5", `{"name": "Zoë O'Neil", "tags": ["a", "b"], "age": 31}`, json},
		"PATCH":             {"PATCH", "/api/users/5", `{"name": null}`, "Content-Type: application/merge-patch+json"},
		"DELETE":            {"DELETE", "/api/users/5", "", ""},
		"HEAD":              {"HEAD", "/", "", ""},
		"OPTIONS":           {"OPTIONS", "/api/users", "", "Origin: https://app.example"},
		"a beacon":          {"POST", "/beacon", `{"event":"click","x":10}`, "Content-Type: text/plain;charset=UTF-8"},
		"a report":          {"POST", "/csp", `{"csp-report":{"document-uri":"https://app.example/"}}`, "Content-Type: application/csp-report"},
		"files of a form":   {"POST", "/upload", "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\nsome text\r\n--b--\r\n", "Content-Type: multipart/form-data; boundary=b"},
		"a path in Unicode": {"GET", "/caf%C3%A9/%E6%97%A5%E6%9C%AC", "", ""},
	}
	harness.EachTLS(t, func(t *testing.T, p harness.Proto) {
		c := c.in(t)
		send := func(name string, q call) *harness.Response {
			fields := browser
			if q.fields != "" {
				fields = append(strings.Split(q.fields, "\n"), browser...)
				if strings.HasPrefix(q.fields, "User-Agent") {
					fields = append(strings.Split(q.fields, "\n"), browser[1:]...)
				}
			}
			return c.Do(p, q.method, c.URL("secure")+q.target, q.content, fields...)
		}
		for name, q := range attacks {
			got := send(name, q)
			require.Equal(t, http.StatusForbidden, got.Status, name)
			require.Regexp(t, `^{"error":"blocked by WAF","rule_id":"[-\w]+","request_id":"[-\w]+"}$`, string(got.Body), name)
			require.Empty(t, c.arrived(), name)
		}
		for name, q := range ordinary {
			got := send(name, q)
			require.Equal(t, http.StatusOK, got.Status, "%s: %s", name, got.Body)
			all := c.arrived()
			require.Len(t, all, 1, name)
			require.Equal(t, q.target, all[0].URI)
			require.Equal(t, q.content, string(all[0].Body), name)
		}
	})
	require.EqualValues(t, 3*len(attacks), wafStatusOf(t, c.Edge).Firewalls[0].Requests["blocked"])
}

// TestWafErrorRoutes render refusals with what is known of them.
func TestWafErrorRoutes(t *testing.T) {
	t.Parallel()
	c := startWaffed(t, "edge_waf {\nbasic off\n}", "handle_errors {\nrespond \"{err.status_code} {http.edge_waf.rule_id} {http.edge_waf.action} {http.edge_waf.phase} {http.edge_waf.score} {http.edge_waf.request_id}\"\n}")
	got := c.get("/search"+attack, browser...)
	require.Equal(t, http.StatusForbidden, got.Status)
	e := c.wafEvents()[0]
	require.Equal(t, fmt.Sprintf("403 %s block request %d %s", e.Rule, e.Score, e.RequestID), string(got.Body))
	require.Regexp(t, `^942\d{3}$`, e.Rule)
	require.GreaterOrEqual(t, e.Score, 5)
	entry := c.WaitLog(isAccess("/search" + attack))
	require.Equal(t, "block", entry["edge_waf"])
	require.Equal(t, e.Rule, entry["edge_waf_rule"])
}

// pack is a pack of one rule, that blocks a path.
func pack(version, path string) string {
	return fmt.Sprintf("pack: {name: own, version: %s}\nmode: enforce\nrules:\n  - id: own-path\n    match: {any: [{path_regex: %q}]}\n    action: {type: block}\n", version, path)
}

// badRules are configurations of edge_waf that must be refused, with what must be told. DIR
// is where the files are.
var badRules = map[string]struct {
	file, content, options string
	want                   []string
}{
	"SecLang":                {"own.conf", "# own\nSecRule ARGS \"@rx foo\" \\\n  \"id:100,phase:2,denyy\"\n", "crs off {\ninclude DIR/own.conf\n}", []string{"DIR/own.conf:2: rule 100: ", "denyy"}},
	"directive of SecLang":   {"own.conf", "SecAction \"id:1,phase:1,pass,nolog\"\n\nSecNonsense On\n", "crs off {\ninclude DIR/own.conf\n}", []string{"DIR/own.conf:3: "}},
	"expression of SecLang":  {"own.conf", "SecRule ARGS \"@rx a(\" \"id:101,phase:2,deny\"\n", "crs off {\ninclude_before DIR/own.conf\n}", []string{"DIR/own.conf:1: rule 101: ", "missing closing )"}},
	"data file of SecLang":   {"own.conf", "SecRule ARGS \"@pmFromFile none.data\" \"id:102,phase:2,deny\"\n", "crs off {\ninclude DIR/own.conf\n}", []string{"DIR/own.conf:1: rule 102: ", "none.data"}},
	"no such include":        {"", "", "crs off {\ninclude DIR/none.conf\n}", []string{"DIR/none.conf", "no such file"}},
	"rules that don't exist": {"", "", "crs {\nexclude rule 942999\n}", []string{"exclude", "942999"}},
	"tags that don't exist":  {"", "", "crs off\nskip tag attack-none", []string{"skip", "attack-none"}},
	"YAML":                   {"own.yaml", "rules:\n  - id: a\n    match: [\n", "rules DIR/own.yaml", []string{"DIR/own.yaml:", "invalid YAML"}},
	"field of a pack":        {"own.yaml", "rules:\n  - id: odd\n    severity: 5\n    match: {any: [{method: PUT}]}\n    action: {type: block}\n", "rules DIR/own.yaml", []string{`DIR/own.yaml:3: rule odd: unknown field "severity"`}},
	"expression of a pack":   {"own.yaml", "rules:\n  - id: odd\n    match:\n      any:\n        - path_regex: a(\n    action: {type: block}\n", "rules DIR/own.yaml", []string{"DIR/own.yaml:5: rule odd: ", "missing closing )"}},
	"no such pack":           {"", "", "rules DIR/none.yaml", []string{"DIR/none.yaml", "no such file"}},
	"requirement":            {"own.yaml", "pack: {name: own, version: 1.0.0, requires: {crs: '>=5.0.0'}}\n" + strings.SplitN(pack("1.0.0", "/x"), "\n", 2)[1], "rules DIR/own.yaml", []string{"DIR/own.yaml:1: ", "requires", "crs", "5.0.0"}},
	"option":                 {"", "", "paranoia 9", []string{"paranoia"}},
}

// writeRules puts the file of a configuration into a directory, and returns its options.
func writeRules(t *testing.T, dir, file, content, options string) string {
	t.Helper()
	if file != "" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600))
	}
	return "edge_waf {\nbasic off\n" + strings.ReplaceAll(options, "DIR", dir) + "\n}"
}

// TestWafValidate has caddy validate name file, line and rule of what is wrong.
func TestWafValidate(t *testing.T) {
	t.Parallel()
	for name, bad := range badRules {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			config := filepath.Join(dir, "Caddyfile")
			require.NoError(t, os.WriteFile(config, []byte(":0 {\n"+writeRules(t, dir, bad.file, bad.content, bad.options)+"\n}\n"), 0o600))
			result := harness.Run(t, "validate", "--adapter", "caddyfile", "--config", config)
			require.NotZero(t, result.ExitCode)
			for _, want := range bad.want {
				require.Contains(t, strings.ReplaceAll(result.Stderr, `\"`, `"`), strings.ReplaceAll(want, "DIR", dir))
			}
		})
	}
}

// TestWafRejectedReload: the rules that are in force stay, and so does what an operator
// has set.
func TestWafRejectedReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	running := writeRules(t, dir, "running.conf", "SecRule ARGS:own \"@streq yes\" \"id:100,phase:1,deny,status:403\"\n", "crs off {\ninclude DIR/running.conf\n}\nblock @own")
	c := startWaffed(t, running, "@own path /own")
	status := func() [3]int {
		return [3]int{c.get("/?own=yes", browser...).Status, c.get("/own", browser...).Status, c.get("/page", browser...).Status}
	}
	mode := func(mode string) {
		code, body := c.Admin(http.MethodPost, "/edge/waf/mode", map[string]string{"mode": mode})
		require.Equal(t, http.StatusOK, code, string(body))
	}
	rejected := func() {
		t.Helper()
		for name, bad := range badRules {
			err := c.Reload(waffedSite, harness.Vars{"waf": writeRules(t, dir, bad.file, bad.content, bad.options), "more": ""})
			require.Error(t, err, name)
			require.ErrorContains(t, err, strings.ReplaceAll(bad.want[0], "DIR", dir), name)
		}
	}
	enforced, shadowed := [3]int{403, 403, 200}, [3]int{200, 200, 200}
	require.Equal(t, enforced, status())
	before := wafStatusOf(t, c.Edge)
	rejected()
	require.Equal(t, enforced, status())
	mode("shadow")
	require.Equal(t, shadowed, status())
	rejected()
	require.Equal(t, shadowed, status())
	require.NoError(t, c.Reload(waffedSite, harness.Vars{"waf": running, "more": "@own path /own"}))
	require.Equal(t, shadowed, status(), "it holds over reloads")
	mode("")
	require.Equal(t, enforced, status())
	after := wafStatusOf(t, c.Edge)
	require.Len(t, after.RuleSets, 1, "what was refused leaves nothing")
	require.Equal(t, before.RuleSets, after.RuleSets, "and what is running was not compiled again")
}

// TestWafRuleFilesAreReadOnReload: content counts, also that of files that files name.
func TestWafRuleFilesAreReadOnReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	write("own.conf", "SecRule ARGS:word \"@pmFromFile own.data\" \"id:100,phase:1,deny,status:403\"\n")
	write("own.data", "first\n")
	write("own.yaml", pack("1.0.0", "^/first$"))
	c := startWaffed(t, "edge_waf {\nbasic off\ncrs off {\ninclude "+dir+"/own.conf\n}\nrules "+dir+"/*.yaml\n}", "")
	status := func(target string) int { return c.get(target, browser...).Status }
	requireBlocked := func(blocked ...string) {
		t.Helper()
		for _, target := range []string{"/?word=first", "/?word=second", "/first", "/second", "/third"} {
			want := http.StatusOK
			for _, b := range blocked {
				if b == target {
					want = http.StatusForbidden
				}
			}
			require.Equal(t, want, status(target), target)
		}
	}
	reload := func() error { return c.Reload(waffedSite) }
	requireBlocked("/?word=first", "/first")
	sets := wafStatusOf(t, c.Edge).RuleSets
	require.NoError(t, reload())
	require.Equal(t, sets, wafStatusOf(t, c.Edge).RuleSets, "nothing changed: nothing is compiled")

	write("own.data", "second\n")
	requireBlocked("/?word=first", "/first")
	require.NoError(t, reload())
	requireBlocked("/?word=second", "/first")
	write("own.yaml", pack("1.1.0", "^/second$"))
	require.NoError(t, reload())
	requireBlocked("/?word=second", "/second")

	write("own.yaml", pack("1.0.9", "^/third$"))
	require.ErrorContains(t, reload(), "1.0.9")
	requireBlocked("/?word=second", "/second")
	require.NoError(t, c.Reload(strings.Replace(waffedSite, "{{.waf}}", "edge_waf {\nbasic off\ndowngrade\ncrs off {\ninclude "+dir+"/own.conf\n}\nrules "+dir+"/*.yaml\n}", 1)))
	requireBlocked("/?word=second", "/third")

	write("own.conf", "SecRule ARGS:word \"@streq first\" \"id:101,phase:1,deny,status:403\"\n")
	require.NoError(t, reload())
	requireBlocked("/?word=first", "/third")
}

// TestWafOverAccessRulesThatNameAPath: with the guard in front, no spelling of a path that
// a rule of the firewall names reaches the origin.
func TestWafOverAccessRulesThatNameAPath(t *testing.T) {
	t.Parallel()
	const rules = `
		@admin path /admin /admin/*
		@secret path_regexp (?i)^/secret(/|$)
		@private expression path('/private*')
		edge_waf {
			crs off
			basic off
			block @admin
			block @secret
			block @private 404
		}
	`
	for _, test := range []struct {
		name, guard string
		parameters  bool
	}{
		{"defaults", "edge_guard", false},
		{"dot segments and slashes", "edge_guard {\ndot_segments\nmerge_slashes\n}", false},
		{"a servlet container", "edge_guard {\ncheck path_parameter enforce\n}", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := startGuarded(t, test.guard, rules)
			sent, passed := 0, 0
			for _, word := range []string{"admin", "secret", "private"} {
				for _, target := range spellings(word) {
					sent++
					s := c.open()
					s.send("GET " + target + " HTTP/1.1\r\nHost: SITE\r\nConnection: close\r\n\r\n")
					s.next()
					for _, r := range c.arrived() {
						passed++
						for _, reading := range readings(r.URI, test.parameters) {
							require.NotRegexp(t, `^/(admin|secret|private)(/|$)`, reading, "sent %s, at the origin %s", target, r.URI)
						}
					}
				}
			}
			blocked := int(wafStatusOf(t, c.Edge).Firewalls[0].Requests["blocked"])
			t.Logf("%d spellings: %d blocked by the firewall, %d refused by the guard or Caddy, %d passed, 0 of them another reading of the path", sent, blocked, sent-blocked-passed, passed)
			require.Greater(t, blocked, 50)
			require.Positive(t, passed)
		})
	}
}

// TestWafHopByHopAbuse: what a client nominates is there for the rules and for the origin.
func TestWafHopByHopAbuse(t *testing.T) {
	t.Parallel()
	c := startGuarded(t, "edge_guard\nedge_waf", "request_header X-Edge-Set bob")
	const fields = "Cookie: session=1\r\nAuthorization: Basic eDp5\r\nAccept: */*\r\nUser-Agent: test\r\n"
	for _, connection := range []string{
		"Connection: Cookie, Authorization, X-Edge-Set", "Connection: close, cookie, authorization, x-edge-set", "Connection: keep-alive\r\nConnection: Cookie,Authorization,X-Edge-Set",
		"connection:\tX-Edge-Set ,Cookie,, Authorization, X-Request-Id, X-Forwarded-For",
	} {
		s := c.open()
		s.send("GET /page HTTP/1.1\r\nHost: SITE\r\n" + connection + "\r\n" + fields + "\r\n")
		resp := s.next()
		require.NotNil(t, resp)
		require.Equal(t, http.StatusOK, resp.StatusCode, connection)
		all := c.arrived()
		require.Len(t, all, 1)
		for name, value := range map[string]string{"Cookie": "session=1", "Authorization": "Basic eDp5", "X-Edge-Set": "bob"} {
			require.Equal(t, value, all[0].Header.Get(name), "%s with %s", name, connection)
		}
		require.NotEmpty(t, all[0].Header.Get("X-Request-Id"))
		require.NotEmpty(t, all[0].Header.Get("X-Forwarded-For"))
	}
	// A field that hides from the rules by being nominated would not be found either.
	s := c.open()
	s.send("GET /page HTTP/1.1\r\nHost: SITE\r\nConnection: X-Other\r\nCookie: q=1' union select password from users-- -\r\nAccept: */*\r\nUser-Agent: test\r\n\r\n")
	require.Equal(t, http.StatusForbidden, s.next().StatusCode)

	c.origin.Handle("/socket", switching("websocket"))
	s = c.open()
	s.send("GET /socket HTTP/1.1\r\nHost: SITE\r\nConnection: keep-alive, Upgrade, Cookie\r\nUpgrade: websocket\r\n" + fields +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	resp, err := http.ReadResponse(s.reader, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	s.send("hello\n")
	line, err := s.reader.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "hello\n", line)
	require.Equal(t, "session=1", c.origin.Requests("/socket")[0].Header.Get("Cookie"))
}
