package edgewaf

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgewaf/crs"
)

const bad = "/search?q=1%27+union+select+password+from+users--+-"

func TestExclusions(t *testing.T) {
	for name, test := range map[string]struct {
		options string
		passes  []*http.Request
		blocked []*http.Request
	}{
		"tag":   {`{"exclude": [{"tags": ["attack-sqli"]}]}`, []*http.Request{browse("GET", bad, "")}, []*http.Request{browse("GET", "/?q=<script>alert(1)</script>", "")}},
		"range": {`{"exclude": [{"rules": ["942000-942999"]}]}`, []*http.Request{browse("GET", bad, "")}, nil},
		"param": {
			`{"exclude": [{"params": ["q"], "tags": ["attack-sqli"]}]}`,
			[]*http.Request{browse("GET", bad, ""), browse("GET", strings.Replace(bad, "q=", "Q=", 1), ""), upload("application/json", []byte(`{"q":"`+attack+`"}`))},
			[]*http.Request{browse("GET", strings.Replace(bad, "q=", "p=", 1), ""), upload("application/json", []byte(`{"user":{"q":"`+attack+`"}}`))},
		},
		"path of JSON": {
			`{"exclude": [{"params": ["user.*"]}]}`,
			[]*http.Request{upload("application/json", []byte(`{"user":{"q":"`+attack+`"}}`))},
			[]*http.Request{upload("application/json", []byte(`{"users":{"q":"`+attack+`"}}`))},
		},
		"path": {
			`{"exclude": [{"tags": ["attack-sqli"], "paths": ["/search*"]}]}`,
			[]*http.Request{browse("GET", bad, "")},
			[]*http.Request{browse("GET", "/x"+bad, "")},
		},
		"cookie": {
			`{"exclude": [{"cookies": ["pref*"]}]}`,
			[]*http.Request{browse("GET", "/", "", "Cookie: prefs="+attack)},
			[]*http.Request{browse("GET", "/", "", "Cookie: other="+attack)},
		},
		"header": {
			`{"exclude": [{"headers": ["User-Agent"]}]}`,
			[]*http.Request{browse("GET", "/", "", "User-Agent: x"), request("GET", "/", "Accept: */*", "User-Agent: sqlmap/1.0")},
			[]*http.Request{request("GET", "/", "Accept: */*", "User-Agent: x", "Referer: https://x/?q=<script>alert(1)</script>")},
		},
	} {
		g := newWafRig(t, `"basic": "off", "crs": `+test.options)
		for _, r := range test.passes {
			w := g.do(r)
			require.Equal(t, http.StatusOK, w.Code, "%s: %s %s %+v", name, r.URL, w.Body, g.state.latest(1, nil))
		}
		for _, r := range test.blocked {
			require.Equal(t, http.StatusForbidden, g.do(r).Code, "%s: %s", name, r.URL)
		}
	}
}

func TestRulesByMatchers(t *testing.T) {
	g := newWafRig(t, `"crs": {"off": true}, "basic": "off", "rules": [
		{"action": "log", "id": "seen", "match": [{"path": ["/*"]}]},
		{"action": "block", "id": "dump", "match": [{"path": ["/.git/*"]}], "status": 404},
		{"action": "block", "match": [{"expression": "{http.request.header.X-Bad} == 'yes'"}]}
	]`)
	w := g.do(browse("GET", "/.git/config", ""))
	require.Equal(t, http.StatusNotFound, w.Code)
	require.Contains(t, w.Body.String(), `"rule_id":"dump"`)
	e := g.state.latest(1, nil)[0]
	require.Len(t, e.Findings, 2, "what only logs hides nothing, and is not hidden")
	require.Equal(t, "dump", e.Rule)
	w = g.do(browse("GET", "/", "", "X-Bad: yes"))
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Contains(t, w.Body.String(), `"rule_id":"block-3"`)
	require.Equal(t, http.StatusOK, g.do(browse("GET", "/", "")).Code)
	require.Equal(t, actLog, g.state.latest(1, nil)[0].Action)
}

func TestSkip(t *testing.T) {
	g := newWafRig(t, `"rules": [
		{"action": "skip", "all": true, "match": [{"path": ["/all"]}]},
		{"action": "skip", "ids": ["942100", "942190-942999"], "match": [{"path": ["/ids"]}]},
		{"action": "skip", "tags": ["attack-sqli"], "match": [{"path": ["/tags"]}]}
	], "basic": "off"`)
	query := bad[strings.Index(bad, "?"):]
	require.Equal(t, http.StatusOK, g.do(browse("GET", "/all"+query, "")).Code)
	require.EqualValues(t, 1, g.state.counts[outcomeSkipped].Load())
	require.Equal(t, http.StatusOK, g.do(browse("GET", "/tags"+query, "")).Code)
	require.Equal(t, http.StatusOK, g.do(browse("GET", "/ids"+query, "")).Code)
	require.Equal(t, http.StatusForbidden, g.do(browse("GET", "/other"+query, "")).Code)
}

// TestSkipOfNumbers: rules of packs and the engine may have the same ids.
func TestSkipOfNumbers(t *testing.T) {
	pack := file(t, "pack.yaml", []byte(`mode: enforce
rules:
  - {id: "1001", match: {any: [{path_regex: "^/pack"}]}, action: {type: block}}
  - {id: "1002", match: {any: [{path_regex: "^/both"}]}, action: {type: block}}
`))
	conf := file(t, "a.conf", []byte(`SecRule REQUEST_URI "@beginsWith /both" "id:1002,phase:1,deny"`+"\n"))
	options := func(crs string) string {
		return `"basic": "off", "packs": ["` + pack + `"], "crs": {"off": true` + crs + `}, "rules": [{"action": "skip", "ids": ["1001", "1002"]}]`
	}
	for _, g := range []*wafRig{newWafRig(t, options(`, "include": ["`+conf+`"]`)), newWafRig(t, options(""))} {
		for _, target := range []string{"/pack", "/both"} {
			require.Equal(t, http.StatusOK, g.do(browse("GET", target, "")).Code, target)
		}
	}
	_, _, err := provisionFirewall(`{"packs": ["` + pack + `"], "crs": {"off": true}, "rules": [{"action": "skip", "ids": ["1003"]}]}`)
	require.ErrorContains(t, err, "there is no rule 1003")
}

// TestShadowOfRules: what a rule in shadow mode would do is told; the others act.
func TestShadowOfRules(t *testing.T) {
	g := newWafRig(t, `"basic": "off", "rules": [{"action": "shadow", "tags": ["attack-sqli"]}]`)
	require.Equal(t, http.StatusOK, g.do(browse("GET", bad, "")).Code)
	e := g.state.latest(1, nil)[0]
	require.Equal(t, actShadow, e.Action)
	require.GreaterOrEqual(t, e.Score, 5)
	require.EqualValues(t, 1, g.state.counts[outcomeShadow].Load())

	w := g.do(browse("GET", bad+"&p=%3Cscript%3Ealert(1)%3C/script%3E", ""))
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Contains(t, w.Body.String(), `"rule_id":"941`, "the reason is a rule that is in force")
}

func TestShadowOfPathsAndAll(t *testing.T) {
	g := newWafRig(t, `"rules": [{"action": "shadow", "all": true, "match": [{"path": ["/search"]}]}]`)
	require.Equal(t, http.StatusOK, g.do(browse("GET", bad, "")).Code)
	require.Equal(t, actShadow, g.state.latest(1, nil)[0].Action)
	require.Equal(t, http.StatusForbidden, g.do(browse("GET", "/x"+bad, "")).Code)
}

func TestShadowMode(t *testing.T) {
	g := newWafRig(t, `"mode": "shadow", "rules": [{"action": "block", "id": "m", "match": [{"path": ["/m"]}]}]`)
	for _, target := range []string{bad, "/m"} {
		require.Equal(t, http.StatusOK, g.do(browse("GET", target, "")).Code)
		require.Equal(t, actShadow, g.state.latest(1, nil)[0].Action)
	}
	require.EqualValues(t, 2, g.state.counts[outcomeShadow].Load())
	require.Zero(t, g.state.counts[outcomeBlocked].Load())
}

func TestScoresAddUp(t *testing.T) {
	g := newWafRig(t, `"basic": "off", "crs": {"inbound": 1000}`)
	require.Equal(t, http.StatusOK, g.do(browse("GET", bad, "")).Code)
	e := g.state.latest(1, nil)[0]
	require.Equal(t, actLog, e.Action)
	require.Greater(t, e.Score, 5)
	require.Equal(t, 1000, e.Threshold)
}

func TestDetectionParanoia(t *testing.T) {
	g := newWafRig(t, `"basic": "off", "crs": {"paranoia": 1, "detection_paranoia": 4}`)
	require.Equal(t, http.StatusOK, g.do(browse("GET", "/?q=a'b(c)", "")).Code)
	e := g.state.latest(1, nil)[0]
	require.Equal(t, actLog, e.Action)
	require.Zero(t, e.Score)
	require.NotEmpty(t, e.Findings)
	for _, f := range e.Findings {
		require.Greater(t, f.Paranoia, 1)
	}
}

func TestOptionsOfTheRuleSet(t *testing.T) {
	const query = `{"query":"query { users(where: {name: {_eq: \"select\"}}, limit: 10) { id name ... on Admin { role } } }","variables":{"a":1}}`
	at := func(path string, r *http.Request) *http.Request {
		r.URL.Path, r.RequestURI = path, path
		return r
	}
	for name, test := range map[string]struct {
		options string
		r       *http.Request
		rule    string // "": passes
	}{
		"methods":         {`{"allowed_methods": ["GET"]}`, browse("DELETE", "/", ""), "911100"},
		"methods pass":    {`{"allowed_methods": ["GET", "PURGE"]}`, browse("PURGE", "/", ""), ""},
		"type":            {`{}`, upload("application/x-odd", []byte("x")), "920420"},
		"type added":      {`{"allowed_content_types": ["application/x-odd"]}`, upload("application/x-odd", []byte("x")), ""},
		"type only":       {`{"allowed_content_types": ["only", "application/x-odd"]}`, upload("application/json", []byte("{}")), "920420"},
		"extension":       {`{}`, browse("GET", "/site.bak", ""), "920440"},
		"extension own":   {`{"restricted_extensions": [".php"]}`, browse("GET", "/x.php", ""), "920440"},
		"extension other": {`{"restricted_extensions": ["php"]}`, browse("GET", "/site.bak", ""), ""},
		"header":          {`{}`, browse("GET", "/", "", "Proxy: x"), "920450"},
		"header own":      {`{"restricted_headers": ["X-Odd"]}`, browse("GET", "/", "", "X-Odd: x"), "920450"},
		"args":            {`{"max_args": 3}`, browse("GET", "/?a=1&b=2&c=3&d=4", ""), "77000001"},
		"args fit":        {`{"max_args": 3}`, browse("GET", "/?a=1&b=2&c=3", ""), ""},
		"arg value":       {`{"max_arg_value": 5}`, browse("GET", "/?a=123456", ""), "920370"},
		"arg name":        {`{"max_arg_name": 5}`, browse("GET", "/?abcdef=1", ""), "920360"},
		"args total":      {`{"max_args_total": 5}`, browse("GET", "/?a=123&b=456", ""), "920390"},
		"graphql": {
			`{"presets": [{"name": "graphql"}]}`, at("/graphql", upload("application/json", []byte(query))), "",
		},
		"graphql below":            {`{"presets": [{"name": "graphql"}]}`, at("/api/graphql", upload("application/json", []byte(query))), ""},
		"graphql type":             {`{"presets": [{"name": "graphql"}]}`, at("/graphql", upload("application/graphql", []byte(`{ users { id } }`))), ""},
		"graphql attack elsewhere": {`{"presets": [{"name": "graphql"}]}`, at("/graphql", upload("application/json", []byte(`{"query":"{ a }","variables":{"a":"`+attack+`"}}`))), "942"},
		"graphql another path":     {`{"presets": [{"name": "graphql"}]}`, browse("GET", bad+"&query="+url.QueryEscape(attack), ""), "942"},
		"graphql param at another": {`{"presets": [{"name": "graphql"}]}`, browse("GET", "/search?query="+url.QueryEscape(attack), ""), "942"},
		"graphql type at another":  {`{"presets": [{"name": "graphql"}]}`, upload("application/graphql", []byte(`{ a }`)), "920420"},
		"graphql own path":         {`{"presets": [{"name": "graphql", "paths": ["/upload"]}]}`, upload("application/json", []byte(query)), ""},
		"graphql own path alone":   {`{"presets": [{"name": "graphql", "paths": ["/upload"]}]}`, browse("GET", "/graphql?query="+url.QueryEscape(attack), ""), "942"},
		"grpc":                     {`{"presets": [{"name": "grpc"}]}`, upload("application/connect+json", []byte(`{}`)), ""},
		"grpc own path":            {`{"presets": [{"name": "grpc", "paths": ["/upload"]}]}`, upload("application/grpc; charset=utf-8", []byte(`{}`)), ""},
		"grpc own path alone":      {`{"presets": [{"name": "grpc", "paths": ["/x"]}]}`, upload("application/grpc", []byte(`{}`)), "920420"},
		"grpc own path other type": {`{"presets": [{"name": "grpc", "paths": ["/upload"]}]}`, upload("application/x-odd", []byte(`{}`)), "920420"},
		"wordpress": {
			`{"presets": [{"name": "wordpress"}]}`,
			browse("POST", "/wp-admin/post.php", "content=%3Cscript%3Ealert(1)%3C/script%3E&post_title=x", "Content-Type: application/x-www-form-urlencoded"), "",
		},
		"wordpress elsewhere": {
			`{"presets": [{"name": "wordpress"}]}`,
			browse("POST", "/comment", "content=%3Cscript%3Ealert(1)%3C/script%3E", "Content-Type: application/x-www-form-urlencoded"), "941",
		},
	} {
		g := newWafRig(t, `"basic": "off", "crs": `+test.options)
		w := g.do(test.r)
		if test.rule == "" {
			require.Equal(t, http.StatusOK, w.Code, "%s: %s %+v", name, w.Body, g.state.latest(1, nil))
			continue
		}
		require.Equal(t, http.StatusForbidden, w.Code, name)
		require.Contains(t, w.Body.String(), `"rule_id":"`+test.rule, name)
	}
}

func TestIncludedFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	write("words.data", "forbidden-word\n")
	write("inner.conf", `SecRule ARGS:w "@pmFromFile words.data" "id:1001,phase:2,deny,status:418,msg:'A word'"`+"\n")
	outer := write("outer.conf", "# a comment\nInclude inner.conf\n")
	options := `"basic": "off", "crs": {"off": true, "include": ["` + outer + `"]}`
	g := newWafRig(t, options)
	w := g.do(browse("GET", "/?w=forbidden-word", ""))
	require.Equal(t, http.StatusTeapot, w.Code)
	require.Contains(t, w.Body.String(), `"rule_id":"1001"`)
	require.Equal(t, http.StatusOK, g.do(browse("GET", "/?w=other", "")).Code)

	// The same content is the same set; what a file of a file says is content too.
	same := newWafRig(t, options)
	require.Same(t, g.engine.Value(), same.engine.Value())
	write("words.data", "other\n")
	changed := newWafRig(t, options)
	require.NotSame(t, g.engine.Value(), changed.engine.Value())
	require.Equal(t, http.StatusTeapot, changed.do(browse("GET", "/?w=other", "")).Code)
	require.Equal(t, http.StatusOK, g.do(browse("GET", "/?w=other", "")).Code)
}

func TestRuleSetsAreShared(t *testing.T) {
	a, b := newWafRig(t, `"crs": {"exclude": [{"rules": ["942100"]}]}`), newWafRig(t, `"mode": "shadow"`)
	require.Same(t, a.engine.Value(), b.engine.Value(), "exceptions and modes are no part of a rule set")
	c := newWafRig(t, `"crs": {"paranoia": 2}`)
	require.NotSame(t, a.engine.Value(), c.engine.Value())
}

func TestBudget(t *testing.T) {
	g := newWafRig(t, `"budget": 1000`)
	w := g.do(browse("GET", "/", ""))
	require.Equal(t, http.StatusRequestEntityTooLarge, w.Code)
	require.Contains(t, w.Body.String(), `"rule_id":"budget"`)
	g = newWafRig(t, `"budget": 1000, "on_budget": "pass", "basic": "off"`)
	require.Equal(t, http.StatusOK, g.do(browse("GET", bad, "")).Code)
	require.EqualValues(t, 1, g.state.counts[outcomeBudget].Load())
	g = newWafRig(t, `"budget": -1`)
	require.Equal(t, http.StatusOK, g.do(browse("GET", "/", "")).Code)
	work := func(r *http.Request) int64 {
		i, err := g.newInspection(nil, r, levelEnforce)
		require.NoError(t, err)
		i.readBody()
		return i.work()
	}
	g = newWafRig(t, "")
	require.Less(t, work(upload("application/json", []byte("["+strings.Repeat(`"`+strings.Repeat("x", 120)+`",`, 1000)+"1]"))), int64(DefaultBudget))
	require.Less(t, work(upload("text/plain", []byte(strings.Repeat("word ", 26000)))), int64(DefaultBudget))
	// What is too much is looked at in part, and passes whole.
	dense := "<a>" + strings.Repeat("<b>x</b>", 16000) + "</a>"
	require.Equal(t, http.StatusOK, g.do(upload("application/xml", []byte(dense))).Code)
	require.Equal(t, dense, g.got)
	require.Equal(t, http.StatusForbidden, g.do(upload("application/xml", []byte("<a>"+attack+dense[3:]))).Code)
	strict := newWafRig(t, `"body": {"on_limit": "reject"}`)
	require.Equal(t, http.StatusRequestEntityTooLarge, strict.do(upload("application/xml", []byte(dense))).Code)
	// What little content makes much work of.
	require.Greater(t, work(browse("GET", "/", "", "Cookie: "+strings.Repeat("a=1; ", 1000))), int64(DefaultBudget))
	require.Greater(t, work(upload("application/xml", []byte("<a>"+strings.Repeat("<b>x</b>", 16000)+"</a>"))), int64(DefaultBudget))
}

func TestBudgetOfLongContent(t *testing.T) {
	names++
	_, _, err := provisionFirewall(fmt.Sprintf(`{"name": "rig-%d", "body": {"limit": 8388608}}`, names))
	require.ErrorContains(t, err, ": crs: body_limit: content of 8388608 bytes is more work than budget allows: want a budget of ")
	newWafRig(t, `"body": {"limit": 8388608}, "budget": -1`)
}

// TestAbsoluteTargets: a rule of a pack about a path is not got around by a scheme.
func TestAbsoluteTargets(t *testing.T) {
	pack := file(t, "pack.yaml", []byte("mode: enforce\nrules:\n  - {id: admin, match: {any: [{path_regex: '^/admin'}]}, action: {type: block}}\n"))
	g := newWafRig(t, `"basic": "off", "crs": {"off": true}, "packs": ["`+pack+`"]`)
	for _, target := range []string{"/admin", "http://example.com/admin", "http://example.com/admin?x=/y"} {
		require.Equal(t, http.StatusForbidden, g.do(browse("GET", target, "")).Code, target)
	}
	require.Equal(t, http.StatusOK, g.do(browse("GET", "/x?y=/admin", "")).Code)
}

// TestReasonOfABlock: a rule of one pack that allows is not the reason for what another
// blocks.
func TestReasonOfABlock(t *testing.T) {
	allows := file(t, "allows.yaml", []byte("mode: enforce\nrules:\n  - {id: allows, match: {any: [{path_regex: '^/a'}]}, action: {type: allow}}\n  - {id: spared, match: {any: [{path_regex: '^/a'}]}, action: {type: block}}\n"))
	blocks := file(t, "blocks.yaml", []byte("mode: enforce\nrules:\n  - {id: blocks, match: {any: [{path_regex: '^/a/b'}]}, action: {type: block}}\n"))
	g := newWafRig(t, `"basic": "off", "crs": {"off": true}, "packs": ["`+blocks+`", "`+allows+`"]`)
	w := g.do(browse("GET", "/a/b", ""))
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Contains(t, w.Body.String(), `"rule_id":"blocks"`)
	require.Equal(t, http.StatusOK, g.do(browse("GET", "/a", "")).Code)
	require.Equal(t, actAllow, g.state.latest(1, nil)[0].Action)
}

func TestStatusOfIncludedRules(t *testing.T) {
	conf := file(t, "own.conf", []byte("SecRule ARGS:a \"@streq x\" \"id:1001,phase:2,deny,status:429,log\"\n"))
	g := newWafRig(t, `"basic": "off", "crs": {"include": ["`+conf+`"]}`)
	require.Equal(t, http.StatusTooManyRequests, g.do(browse("GET", "/?a=x", "")).Code)
	require.Equal(t, http.StatusForbidden, g.do(browse("GET", bad, "")).Code)
}

// TestRulesThatScoreCannotBeExcluded: without them nothing would be refused.
func TestRulesThatScoreCannotBeExcluded(t *testing.T) {
	names++
	_, _, err := provisionFirewall(fmt.Sprintf(`{"name": "rig-%d", "crs": {"exclude": [{"rules": ["949110"]}]}}`, names))
	require.ErrorContains(t, err, "exclude: rule 949110 only adds up scores")
	g := newWafRig(t, `"basic": "off", "crs": {"exclude": [{"rules": ["920000-999999"], "params": ["p"]}, {"rules": ["942000-999999"]}]}`)
	require.Equal(t, http.StatusForbidden, g.do(browse("GET", "/?q=<script>alert(1)</script>", "")).Code)
}

// TestStructuredTypes: what builds on JSON or XML is read as that, and need not be listed.
func TestStructuredTypes(t *testing.T) {
	g := newWafRig(t, `"basic": "off"`)
	for _, contentType := range []string{"application/hal+json", "application/vnd.acme.v2+json; charset=utf-8"} {
		require.Equal(t, http.StatusOK, g.do(upload(contentType, []byte(`{"q":"shoes"}`))).Code, contentType)
		require.Equal(t, http.StatusForbidden, g.do(upload(contentType, []byte(`{"q":"`+attack+`"}`))).Code, contentType)
	}
	require.Equal(t, http.StatusOK, g.do(upload("application/atom+xml", []byte("<a>x</a>"))).Code)
	g = newWafRig(t, `"basic": "off", "crs": {"allowed_content_types": ["only", "application/json"]}`)
	require.Equal(t, http.StatusForbidden, g.do(upload("application/hal+json", []byte(`{"q":"shoes"}`))).Code)
}

// TestShadowModeTellsWhatWouldBeDone: a rule that is in shadow mode itself would do nothing.
func TestShadowModeTellsWhatWouldBeDone(t *testing.T) {
	g := newWafRig(t, `"mode": "shadow", "crs": {"off": true}`)
	require.Equal(t, http.StatusOK, g.do(browse("GET", "/?q=<script>alert(1)</script>", "")).Code)
	require.Equal(t, actLog, g.state.latest(1, nil)[0].Action)
	g = newWafRig(t, `"crs": {"off": true}`)
	require.Equal(t, http.StatusOK, g.do(browse("GET", "/?q=<script>alert(1)</script>", "")).Code)
	require.Equal(t, actShadow, g.state.latest(1, nil)[0].Action)
}

func TestSample(t *testing.T) {
	g := newWafRig(t, `"sample": 50`)
	blocked := 0
	for range 400 {
		if g.do(browse("GET", "/etc/passwd?q=../../etc/passwd", "", "User-Agent: sqlmap")).Code == http.StatusForbidden {
			blocked++
		}
	}
	require.InDelta(t, 200, blocked, 80) // 8 standard deviations
}

// TestSecondEvaluationFails: what rules in shadow mode would do is decided by a second
// evaluation, and where that fails the request does not pass.
func TestSecondEvaluationFails(t *testing.T) {
	g := newWafRig(t, "")
	i, err := g.newInspection(nil, browse("GET", "/", ""), levelEnforce)
	require.NoError(t, err)
	i.enforce(crs.Verdict{Err: errors.New("broken")})
	require.True(t, i.blocked)
	require.Equal(t, "engine", i.event.Rule)
	require.Equal(t, http.StatusInternalServerError, i.event.Status)
}
