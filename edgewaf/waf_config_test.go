package edgewaf

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/stretchr/testify/require"
)

// parseWaf adapts the arguments and block of the directive.
func parseWaf(text string) (string, error) {
	h, err := parseFirewall(httpcaddyfile.Helper{Dispenser: caddyfile.NewTestDispenser("edge_waf " + text), State: make(map[string]any)})
	if err != nil {
		return "", err
	}
	out, err := json.Marshal(h)
	return string(out), err
}

func TestWafCaddyfile(t *testing.T) {
	for _, test := range []struct{ text, json string }{
		{"", `{"name": "default"}`},
		{"{\nname api\nmode shadow\nsample 0.5%\nstatus 404\nrespond error\nkeep 5\nlog_rate 6\nnotice 10s\nbasic off\ndowngrade\n}",
			`{"name": "api", "mode": "shadow", "sample": 0.5, "status": 404, "respond": "error", "keep": 5, "log_rate": 6, "notice": 10000000000, "basic": "off", "downgrade": true}`},
		{"{\ncrs off\nrules a.yaml b.yaml\nrules c.yaml\n}", `{"name": "default", "crs": {"off": true}, "packs": ["a.yaml", "b.yaml", "c.yaml"]}`},
		{"{\ncrs {\nparanoia 2\ndetection_paranoia 3\ninbound 10\noutbound 8\nearly_block\nallowed_methods GET\nallowed_content_types only a/b\nrestricted_extensions .x\nrestricted_headers X-A\n" +
			"max_args 10\nmax_arg_name 1KiB\nmax_arg_value 2KiB\nmax_args_total 3KiB\npreset rest graphql\npreset grpc path /a.S/* /b\ninclude_before a\ninclude b c\n}\n}",
			`{"name": "default", "crs": {"paranoia": 2, "detection_paranoia": 3, "inbound": 10, "outbound": 8, "early_block": true, "allowed_methods": ["GET"],
			"allowed_content_types": ["only", "a/b"], "restricted_extensions": [".x"], "restricted_headers": ["X-A"], "max_args": 10, "max_arg_name": 1024, "max_arg_value": 2048,
			"max_args_total": 3072, "presets": [{"name": "rest"}, {"name": "graphql"}, {"name": "grpc", "paths": ["/a.S/*", "/b"]}], "include_before": ["a"], "include": ["b", "c"]}}`},
		{"{\ncrs off {\ninclude a\n}\n}", `{"name": "default", "crs": {"off": true, "include": ["a"]}}`},
		{"{\ncrs {\nexclude rule 1 2-3 param a b path /x /y\nexclude tag t cookie c header h\nexclude param \"path\" path /path\nexclude param q\n}\n}",
			`{"name": "default", "crs": {"exclude": [{"rules": ["1", "2-3"], "params": ["a", "b"], "paths": ["/x", "/y"]}, {"tags": ["t"], "cookies": ["c"], "headers": ["h"]},
			{"params": ["path"], "paths": ["/path"]}, {"params": ["q"]}]}}`},
		{"{\nblock /a\nblock /b 404\nlog *\nskip /c all\nskip rule 1 x\nshadow tag t\nshadow /d rule 1 tag t\n}",
			`{"name": "default", "rules": [{"action": "block", "match": [{"path": ["/a"]}]}, {"action": "block", "match": [{"path": ["/b"]}], "status": 404},
			{"action": "log"}, {"action": "skip", "all": true, "match": [{"path": ["/c"]}]}, {"action": "skip", "ids": ["1", "x"]}, {"action": "shadow", "tags": ["t"]},
			{"action": "shadow", "ids": ["1"], "tags": ["t"], "match": [{"path": ["/d"]}]}]}`},
		{"{\ndecode\nbody_limit 1KiB reject\nresponse 2KiB reject {\ntypes text/html a/b\n}\nbudget 5 pass\n}",
			`{"name": "default", "body": {"limit": 1024, "on_limit": "reject", "decode": true}, "response": {"limit": 2048, "on_limit": "reject", "types": ["text/html", "a/b"]}, "budget": 5, "on_budget": "pass"}`},
		{"{\nbody_limit off\nresponse\nbudget off\n}", `{"name": "default", "body": {"limit": -1}, "response": {}, "budget": -1}`},
	} {
		got, err := parseWaf(test.text)
		require.NoError(t, err, test.text)
		require.JSONEq(t, test.json, got)
	}
}

func TestWafCaddyfileRefuses(t *testing.T) {
	for _, test := range []struct{ text, err string }{
		{"strict", `edge_waf: takes a matcher alone, got "strict"`},
		{"{\nnonsense\n}", `edge_waf: unknown option "nonsense"`},
		{"{\nmode on\n}", `edge_waf: mode: invalid value "on"`},
		{"{\nmode off\nmode off\n}", "edge_waf: mode: given more than once"},
		{"{\nsample 0\n}", `edge_waf: sample: invalid value "0": want a percentage`},
		{"{\nsample NaN\n}", `edge_waf: sample: invalid value "NaN"`},
		{"{\ncrs on\n}", `edge_waf: crs: invalid value "on": want off, or a block`},
		{"{\ncrs {\nparanoia 5\n}\n}", `edge_waf: crs: paranoia: invalid number "5"`},
		{"{\ncrs {\nlevel 1\n}\n}", `edge_waf: crs: unknown option "level"`},
		{"{\ncrs {\nexclude 942100\n}\n}", `edge_waf: crs: exclude: invalid value "942100": want rule, tag, param, cookie, header or path first`},
		{"{\ncrs {\nexclude rule x\n}\n}", `edge_waf: crs: exclude: rule: invalid id "x"`},
		{"{\ncrs {\nexclude path /x\n}\n}", "edge_waf: crs: exclude: needs a rule, a tag, a param, a cookie or a header"},
		{"{\ncrs {\nexclude rule 1 param\n}\n}", "edge_waf: crs: exclude: param: needs at least one value"},
		{"{\nblock\n}", "edge_waf: block: needs a matcher"},
		{"{\nblock /a 200\n}", `edge_waf: block: invalid status "200"`},
		{"{\nlog /a 404\n}", `edge_waf: log: invalid value "404"`},
		{"{\nskip /a\n}", "edge_waf: skip: needs rule <id...>, tag <tag...>, or all"},
		{"{\nshadow 942100\n}", `edge_waf: shadow: invalid value "942100": want rule, tag or all`},
		{"{\nbody_limit 0\n}", `edge_waf: body_limit: invalid value "0"`},
		{"{\nbody_limit off reject\n}", `edge_waf: body_limit: off: takes no other word`},
		{"{\nbody_limit 1KiB maybe\n}", `edge_waf: body_limit: invalid value "1KiB maybe"`},
		{"{\nresponse maybe\n}", `edge_waf: response: invalid size "maybe"`},
		{"{\nresponse {\nlimit 1\n}\n}", `edge_waf: response: unknown option "limit"`},
		{"{\nbudget -1\n}", `edge_waf: budget: invalid value "-1"`},
		{"{\nstatus 200\n}", `edge_waf: status: invalid number "200"`},
		{"{\nrespond json\n}", `edge_waf: respond: invalid value "json"`},
		{"{\nbasic maybe\n}", `edge_waf: basic: invalid value "maybe"`},
	} {
		_, err := parseWaf(test.text)
		require.ErrorContains(t, err, test.err, test.text)
	}
}

// TestWafCaddyfileSaysWhere: what only the text of a Caddyfile is needed for is found with file
// and line.
func TestWafCaddyfileSaysWhere(t *testing.T) {
	for _, test := range []struct{ text, err string }{
		{"{\nname \"a b\"\n}", `edge_waf: name: invalid value "a b": want letters, digits, dots, - and _, at Testfile:2`},
		{"{\n\nnotice 1ms\n}", "edge_waf: notice: invalid value 1000000: want 1000000000 to 86400000000000, at Testfile:3"},
		{"{\ncrs {\nparanoia 3\ndetection_paranoia 2\n}\n}", "edge_waf: crs: detection_paranoia: invalid value 2: want 3 to 4, at Testfile:4"},
		{"{\ncrs {\ndetection_paranoia 2\nparanoia 3\n}\n}", "edge_waf: crs: detection_paranoia: invalid value 2: want 3 to 4, at Testfile:4"},
		{"{\ncrs {\nallowed_content_types json\n}\n}", `edge_waf: crs: allowed_content_types: invalid value "json": want a media type, such as application/json, at Testfile:3`},
		{"{\ncrs {\npreset rest\npreset drupal\n}\n}", `edge_waf: crs: preset: unknown name "drupal": want graphql, grpc, rest, wordpress, at Testfile:4`},
		{"{\ncrs off {\npreset rest\n}\n}", "edge_waf: crs: preset: has no effect: the rule set is off, at Testfile:3"},
		{"{\nresponse {\ntypes html\n}\n}", `edge_waf: response: types: invalid value "html": want a media type, such as text/html, at Testfile:4`},
		{"{\nbody_limit off\ndecode\n}", "edge_waf: body_limit: off: on_limit and decode have no effect, at Testfile:3"},
		{"{\ncrs off\nresponse\n}", "edge_waf: response: there is no rule to look at it, at Testfile:4"},
		{"{\ncrs off {\nexclude rule 1\n}\n}", "edge_waf: crs: exclude: there is no rule to exclude: the rule set is off, at Testfile:5"},
	} {
		_, err := parseWaf(test.text)
		require.EqualError(t, err, test.err, test.text)
	}
	_, err := parseWaf("{\nresponse\ncrs off\nrules a\n}")
	require.NoError(t, err, "the order is of no account")
}

// TestFilesAreToldApart: a Caddyfile adapts to something else when a file of rules that it
// names has changed, since Caddy ignores a reload of the same.
func TestFilesAreToldApart(t *testing.T) {
	path := file(t, "pack.yaml", []byte("a"))
	before, err := parseWaf("{\nrules " + path + "\n}")
	require.NoError(t, err)
	again, err := parseWaf("{\nrules " + path + "\n}")
	require.NoError(t, err)
	require.Equal(t, before, again)
	require.NoError(t, os.WriteFile(path, []byte("b"), 0o600))
	for _, text := range []string{"{\nrules " + path + "\n}", "{\ncrs {\ninclude " + path + "\n}\n}"} {
		after, err := parseWaf(text)
		require.NoError(t, err)
		require.NotEqual(t, before, after)
		require.Contains(t, after, `"files":`)
	}
}

// FuzzWafCaddyfile wants what is parsed to be an error or a firewall, and no panic.
func FuzzWafCaddyfile(f *testing.F) {
	f.Add("{\ncrs {\nexclude rule 1 param a\n}\nskip /x rule 1\nresponse 1KiB {\ntypes a/b\n}\n}")
	f.Fuzz(func(t *testing.T, text string) {
		if out, err := parseWaf(text); err == nil {
			require.True(t, strings.HasPrefix(out, `{"name":`), out)
		}
	})
}

func TestWafConfigRefuses(t *testing.T) {
	conf := file(t, "bad.conf", []byte("# fine\nSecRule ARGS \"@rx a\" \"id:1001,phase:2,pass\"\n\nSecRule ARGS \"@rx (\" \\\n  \"id:1002,phase:2,deny\"\n"))
	unknown := file(t, "unknown.conf", []byte("SecRule ARGS \"@rx a\" \"id:1001,phase:2,pass\"\nSecNonsense On\n"))
	open := file(t, "open.conf", []byte("SecRule ARGS \"@rx a\" \\\n"))
	long := file(t, "long.conf", []byte("# "+strings.Repeat("x", 70000)+"\n"))
	engine := file(t, "engine.conf", []byte("SecRule ARGS \"@rx a\" \"id:1001,phase:2,pass\"\n\nsecruleengine DetectionOnly\n"))
	nested := file(t, "nested.conf", []byte("SecMarker X\nInclude "+engine+"\n"))
	nothing := file(t, "nothing.conf", []byte("SecUnicodeMap x\n"))
	pack := file(t, "bad.yaml", []byte("rules:\n  - id: one\n    match: {any: [{query_regex: '('}]}\n    action: {type: block}\n"))
	needs := file(t, "needs.yaml", []byte("pack: {name: p, version: 1.0.0, requires: {crs: '>=99.0.0'}}\nrules:\n  - {id: x, match: {any: [{method: X}]}, action: {type: log}}\n"))
	missing := filepath.Join(t.TempDir(), "missing")
	before := pooled()
	for _, test := range []struct{ options, err string }{
		{`"name": "a b"`, `edge_waf: name: invalid value "a b"`},
		{`"mode": "on"`, `edge_waf: mode: unknown mode "on"`},
		{`"sample": 101`, "edge_waf: sample: invalid value 101"},
		{`"status": 200`, "edge_waf: status: invalid value 200: want 400 to 599"},
		{`"body": {"limit": -2}`, "edge_waf: body_limit: invalid value -2"},
		{`"body": {"on_limit": "x"}`, `edge_waf: body_limit: invalid value "x": must be one of pass, reject`},
		{`"on_budget": "x"`, `edge_waf: on_budget: invalid value "x"`},
		{`"keep": -1`, "edge_waf: keep: invalid value -1"},
		{`"notice": 5`, "edge_waf: notice: invalid value 5"},
		{`"basic": "x"`, `edge_waf: basic: invalid value "x"`},
		{`"response": {"types": ["text/event-stream"]}`, "edge_waf: response: types: text/event-stream: is a stream"},
		{`"response": {"types": ["html"]}`, `edge_waf: response: types: invalid value "html"`},
		{`"response": {"limit": -1}`, "edge_waf: response: limit: invalid value -1"},
		{`"response": {"on_limit": "x"}`, `edge_waf: response: on_limit: invalid value "x"`},
		{`"crs": {"paranoia": 5}`, "edge_waf: crs: paranoia: invalid value 5: want 1 to 4"},
		{`"crs": {"paranoia": 3, "detection_paranoia": 2}`, "edge_waf: crs: detection_paranoia: invalid value 2: want 3 to 4"},
		{`"crs": {"allowed_methods": ["G'"]}`, `edge_waf: crs: allowed_methods: invalid value "G'"`},
		{`"crs": {"allowed_content_types": ["json"]}`, `edge_waf: crs: allowed_content_types: invalid value "json": want a media type`},
		{`"crs": {"presets": [{"name": "drupal"}]}`, `edge_waf: crs: preset: unknown name "drupal": want graphql, grpc, rest, wordpress`},
		{`"crs": {"presets": [{"name": "wordpress", "paths": ["/x"]}]}`, `edge_waf: crs: preset: wordpress: takes no paths`},
		{`"crs": {"exclude": [{"rules": ["99999999"]}]}`, "edge_waf: crs: exclude: there is no rule 99999999"},
		{`"crs": {"exclude": [{"tags": ["attack-sqly"]}]}`, "edge_waf: crs: exclude: there is no rule with the tag attack-sqly"},
		{`"crs": {"off": true, "exclude": [{"rules": ["942100"]}]}`, "edge_waf: crs: exclude: there is no rule to exclude"},
		{`"crs": {"off": true, "max_arg_name": 1}`, "edge_waf: crs: max_arg_name: has no effect: the rule set is off"},
		{`"response": {}, "crs": {"off": true}`, "edge_waf: response: there is no rule to look at it"},
		{`"crs": {"include": ["` + missing + `"]}`, "edge_waf: crs: include: stat " + missing + ": no such file or directory"},
		{`"crs": {"include": ["` + missing + `*"]}`, "edge_waf: crs: include: " + missing + "*: no file has such a name"},
		{`"crs": {"include": ["` + conf + `"]}`, "edge_waf: crs: " + conf + ":4: rule 1002: "},
		{`"crs": {"off": true, "include": ["` + unknown + `"]}`, "edge_waf: crs: " + unknown + ":2: SecNonsense: files have rules alone: it is not known, or has no effect here"},
		{`"crs": {"off": true, "include": ["` + open + `"]}`, "edge_waf: crs: " + open + ":1: the last directive is not complete"},
		{`"crs": {"off": true, "include": ["` + long + `"]}`, "edge_waf: crs: " + long + ":1: line of 70003 bytes"},
		{`"crs": {"include": ["` + engine + `"]}`, "edge_waf: crs: " + engine + ":3: secruleengine: files have rules alone: use the option mode of edge_waf"},
		{`"crs": {"include_before": ["` + nested + `"]}`, "edge_waf: crs: " + engine + ":3: secruleengine: files have rules alone"},
		{`"crs": {"off": true, "include": ["` + nothing + `"]}`, "edge_waf: crs: " + nothing + ":1: SecUnicodeMap: files have rules alone: it is not known"},
		{`"packs": ["` + missing + `"]`, "edge_waf: rules: open " + missing + ": no such file or directory"},
		{`"packs": ["` + pack + `"]`, "edge_waf: rules: " + pack + ":3: rule one: query_regex: "},
		{`"packs": ["` + needs + `"]`, "edge_waf: rules: " + needs + ":1: "},
		{`"rules": [{"action": "drop"}]`, `edge_waf: drop: action: invalid value "drop": must be one of block, log, skip, shadow`},
		{`"rules": [{"action": "block", "status": 200}]`, "edge_waf: block: status: invalid value 200"},
		{`"rules": [{"action": "block", "id": "a b"}]`, `edge_waf: block: id: name: invalid value "a b"`},
		{`"rules": [{"action": "block", "id": "a"}, {"action": "log", "id": "a"}]`, `edge_waf: log: id: there is another rule "a"`},
		{`"rules": [{"action": "block", "all": true}]`, "edge_waf: block: takes no ids, tags or all"},
		{`"rules": [{"action": "skip"}]`, "edge_waf: skip: needs ids, tags, or all"},
		{`"rules": [{"action": "skip", "ids": ["nobody"]}]`, `edge_waf: skip: there is no rule "nobody"`},
		{`"rules": [{"action": "skip", "tags": ["nobody"]}]`, `edge_waf: skip: there is no rule with the tag "nobody"`},
		{`"rules": [{"action": "skip", "ids": ["1"]}]`, "edge_waf: skip: exclude: there is no rule 1"},
		{`"rules": [{"action": "skip", "ids": ["942100"]}], "crs": {"off": true}`, "edge_waf: skip: there is no rule 942100: the rule set is off"},
		{`"nonsense": 1`, `unknown field "nonsense"`},
	} {
		names++
		options := test.options
		if !strings.HasPrefix(options, `"name"`) {
			options += fmt.Sprintf(`, "name": "refused-%d"`, names)
		}
		_, _, err := provisionFirewall("{" + options + "}")
		name := "a b"
		if options != test.options {
			name = fmt.Sprintf("refused-%d", names)
		}
		require.ErrorContains(t, err, strings.Replace(test.err, "edge_waf:", "edge_waf "+name+":", 1), test.options)
	}
	require.Equal(t, before, pooled(), "nothing is left of what was refused")
}

// pooled counts the rule sets and firewalls in memory.
func pooled() (n [2]int) {
	engines.Range(func(string, *rulesEngine) bool { n[0]++; return true })
	firewalls.Range(func(string, *wafState) bool { n[1]++; return true })
	return n
}
