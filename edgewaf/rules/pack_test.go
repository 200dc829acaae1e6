package rules

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// published is a file in the format of small edge proxies, with all that it has.
const published = `# rules
mode: "enforce"
max_body_inspect_bytes: 4096

rules:
  - id: "block-dotdot"
    enabled: true
    phase: "request"
    description: "Nobody climbs out"
    match:
      any:
        - path_regex: "(?i)(\\.\\./|%2e%2e)"
    action:
      type: "block"
      status_code: 404
      log: true

  - id: "log-all-kinds"
    enabled: true
    phase: "request"
    match:
      any:
        - query_regex: "debug=1"
        - body_regex: "(?i)secret"
        - header_name: "X-Debug"
        - header_regex: "(?i)x-probe:\\s*on"
        - ip_cidr: "192.0.2.0/24"
        - method: "delete"
        - user_agent_regex: "^$"
        - content_type: "application/xml"
    action:
      type: "log"
      log: false

  - id: "allow-health"
    enabled: false
    phase: "request"
    match:
      any:
        - path_regex: "^/healthz$"
    action:
      type: "allow"

  - id: "private"
    match:
      any:
        - path_regex: "^/private/"
    action:
      type: "bypass_cache"
`

func parse(t require.TestingT, text string) *Pack {
	p, err := Parse("rules.yaml", []byte(text))
	require.NoError(t, err)
	return p
}

func compile(t require.TestingT, texts ...string) *Set {
	var packs []*Pack
	for i, text := range texts {
		p, err := Parse(fmt.Sprintf("rules%d.yaml", i), []byte(text))
		require.NoError(t, err)
		packs = append(packs, p)
	}
	s, err := Compile(packs, nil)
	require.NoError(t, err)
	return s
}

func TestParsePublished(t *testing.T) {
	p := parse(t, published)
	require.Equal(t, Enforce, p.Mode)
	require.Equal(t, 4096, p.BodyLimit)
	require.Empty(t, p.Warnings)
	require.Empty(t, p.Name)
	require.Len(t, p.Rules, 4)

	r := *p.Rules[0]
	r.when = nil
	require.Equal(t, Rule{
		ID: "block-dotdot", Description: "Nobody climbs out", Pack: p, Line: 6, Enabled: true, Mode: Enforce, Action: Block, Status: 404, Log: true,
	}, r)
	require.Equal(t, Log, p.Rules[1].Action)
	require.False(t, p.Rules[1].Log)
	require.False(t, p.Rules[2].Enabled)
	require.True(t, p.Rules[3].Enabled, "unless it says otherwise")
	require.True(t, p.Rules[3].Log, "unless it says otherwise")
}

func TestParseExtended(t *testing.T) {
	p := parse(t, `
pack:
  name: shop
  version: 1.4.0-rc.1
  requires: {edge: ">=1.2.0, <2.0.0", crs: ">= 4.25.0"}
rules:
- id: 942100
  tags: [attack-sqli, 'paranoia 2']
  mode: enforce
  match:
    all:
    - method: [GET, HEAD]
      host: [example.com, "*.example.org"]
    - any: [{protocol: HTTP/1.0}, {cookie_name: sid, cookie_regex: '^[^a-z]'}]
    not:
    - ip_cidr: [10.0.0.0/8, "2001:db8::1"]
    - not: {header_name: Accept}
  action: {type: limit, zone: slow}
- id: leak
  phase: response
  match:
    all:
    - status: [5xx, 404, 300-399]
    - response_header_name: Server
      response_header_regex: '^secret'
    - response_content_type: text/html
    - response_body_regex: 'stack trace'
    - path_regex: '^/'
  action: {type: block, status_code: 502}
`)
	require.Equal(t, "shop", p.Name)
	require.Equal(t, "1.4.0-rc.1", p.Version)
	require.Equal(t, Shadow, p.Mode, "unless it says otherwise")
	require.Equal(t, DefaultBodyLimit, p.BodyLimit)
	require.Equal(t, []string{"crs", "edge"}, []string{p.Requires[0].Of, p.Requires[1].Of})
	require.Equal(t, ">=1.2.0, <2.0.0", p.Requires[1].Versions)
	require.Equal(t, "942100", p.Rules[0].ID, "an id of digits is a text")
	require.Equal(t, []string{"attack-sqli", "paranoia 2"}, p.Rules[0].Tags)
	require.Equal(t, Enforce, p.Rules[0].Mode)
	require.Equal(t, "slow", p.Rules[0].Zone)
	require.Equal(t, OnResponse, p.Rules[1].Phase)
	require.Equal(t, Shadow, p.Rules[1].Mode)
	require.Equal(t, 502, p.Rules[1].Status)
}

// TestHash: packs are known by their content.
func TestHash(t *testing.T) {
	a, err := Parse("a.yaml", []byte(published))
	require.NoError(t, err)
	b, err := Read("b.yaml", strings.NewReader(published))
	require.NoError(t, err)
	require.Equal(t, a.Hash, b.Hash)
	require.Len(t, a.Hash, 64)
	c := parse(t, published+"# another one\n")
	require.NotEqual(t, a.Hash, c.Hash)

	ab, err := Compile([]*Pack{a, Basic()}, nil)
	require.NoError(t, err)
	ba, err := Compile([]*Pack{Basic(), b}, nil)
	require.NoError(t, err)
	again, err := Compile([]*Pack{b, Basic()}, nil)
	require.NoError(t, err)
	require.Equal(t, ab.Hash(), again.Hash())
	require.NotEqual(t, ab.Hash(), ba.Hash(), "order matters")
}

func TestRead(t *testing.T) {
	_, err := Read("a.yaml", strings.NewReader(strings.Repeat("#", MaxSize+1)))
	require.EqualError(t, err, "a.yaml: more than 1048576 bytes")
	_, err = Read("a.yaml", iotest.ErrReader(errors.New("gone")))
	require.EqualError(t, err, "a.yaml: gone")
}

// rule is a file of one rule, with a field or more instead of those that are there.
func rule(fields ...string) string {
	have := map[string]string{"id": "a", "match": "{any: [{path_regex: x}]}", "action": "{type: log}"}
	order := []string{"id", "match", "action"}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		if _, ok := have[name]; !ok {
			order = append(order, name)
		}
		have[name] = value
	}
	text := "rules:\n-\n"
	for _, name := range order {
		text += "  " + name + ": " + have[name] + "\n"
	}
	return text
}

func TestParseErrors(t *testing.T) {
	// In rule(), id is in line 3, match in line 4, action in line 5, others follow.
	for _, test := range []struct{ text, want string }{
		{"", "rules.yaml: there are no rules"},
		{"# nothing\n", "rules.yaml: there are no rules"},
		{"mode: shadow", "rules.yaml:1: there are no rules"},
		{"5", `rules.yaml:1: invalid value "5": want fields, each with a value`},
		{"rules: []", "rules.yaml:1: rules: is empty"},
		{"rules: 5", `rules.yaml:1: rules: invalid value "5": want a list of rules`},
		{"rules: {a: b}", "rules.yaml:1: rules: invalid value (fields): want a list of rules"},
		{"rules: [", "rules.yaml:1: invalid YAML: did not find expected node content"},
		{"rules: \xff", "rules.yaml: invalid YAML: invalid leading UTF-8 octet"},
		{rule() + "---\n{}", "rules.yaml:6: there is more than one document"},
		{rule() + "mode: off", `rules.yaml:6: mode: unknown value "off": want shadow or enforce`},
		{rule() + "modes: shadow", `rules.yaml:6: unknown field "modes"`},
		{rule() + "mode: shadow\nmode: shadow", "rules.yaml:7: mode: is there twice"},
		{rule() + "max_body_inspect_bytes: 0", `rules.yaml:6: max_body_inspect_bytes: invalid value "0": want a whole number from 1 to 16777216`},
		{rule() + "max_body_inspect_bytes: 64KiB", `rules.yaml:6: max_body_inspect_bytes: invalid value "64KiB": want a whole number from 1 to 16777216`},
		{rule() + "[a]: b", "rules.yaml:6: invalid field: want a name"},
		{"rules: &a [b]", "rules.yaml:1: anchors and aliases are not supported"},
		{"rules: [{id: &x a, match: *x}]", "rules.yaml:1: anchors and aliases are not supported\nrules.yaml:1: anchors and aliases are not supported"},
		{"rules: !!binary aGVsbG8=", `rules.yaml:1: tags such as "!!binary" are not supported`},

		{rule() + "pack: {version: 1.0.0}", "rules.yaml:6: pack: has no name"},
		{rule() + "pack: {name: a, version: 1.0}", `rules.yaml:6: pack: version: invalid version "1.0": want one such as 1.2.0`},
		{rule() + "pack: {name: a, version: v1.0.0}", `rules.yaml:6: pack: version: invalid version "v1.0.0": want one such as 1.2.0`},
		{rule() + "pack: {name: a, license: b}", `rules.yaml:6: pack: unknown field "license"`},
		{rule() + "pack: a", `rules.yaml:6: pack: invalid value "a": want fields, each with a value`},
		{rule() + "pack: {name: a, requires: {edge: 1.0.0}}", `rules.yaml:6: requires: edge: invalid value "1.0.0": want versions behind >=, >, <, <= or =, such as >=1.2.0, <2.0.0`},
		{rule() + "pack: {name: a, requires: {edge: '>=1.0.0,'}}", `rules.yaml:6: requires: edge: invalid value "": want versions behind >=, >, <, <= or =, such as >=1.2.0, <2.0.0`},
		{rule() + "pack: {name: a, requires: {edge: '^1.0.0'}}", `rules.yaml:6: requires: edge: invalid value "^1.0.0": want versions behind >=, >, <, <= or =, such as >=1.2.0, <2.0.0`},
		{rule() + "pack: {name: a, requires: {edge: '>=1.0'}}", `rules.yaml:6: requires: edge: invalid version "1.0": want one such as 1.2.0`},
		{rule() + "pack: {name: a, requires: {edge: [1]}}", `rules.yaml:6: requires: edge: invalid value (a list): want a text`},

		{"rules: [a]", `rules.yaml:1: rule 1: invalid value "a": want fields, each with a value`},
		{"rules: [{}]", "rules.yaml:1: rule 1: has no id"},
		{rule("id: ''"), "rules.yaml:3: rule 1: id: is empty"},
		{rule("id: [a]"), "rules.yaml:3: rule 1: id: invalid value (a list): want a text"},
		{rule("id: ~"), `rules.yaml:3: rule 1: id: invalid value "~": want a text`},
		{rule("id: true"), `rules.yaml:3: rule 1: id: invalid value "true": want a text`},
		{rule(`id: "a\nb"`), `rules.yaml:3: rule 1: id: invalid value "a\nb": want printable characters without spaces around them`},
		{rule(`id: 'a"b'`), `rules.yaml:3: rule 1: id: invalid value "a\"b": want letters, digits, -, _, . and :`},
		{rule(`id: 'a\b'`), `rules.yaml:3: rule 1: id: invalid value "a\\b": want letters, digits, -, _, . and :`},
		{rule("id: " + strings.Repeat("a", 129)), "rules.yaml:3: rule 1: id: 129 bytes are more than 128"},
		{"rules: [{id: a}]", "rules.yaml:1: rule a: has no match\nrules.yaml:1: rule a: has no action"},
		{rule() + rule()[len("rules:\n"):], "rules.yaml:7: rule a: there is another one of this id in line 3"},
		{rule("severity: 5"), `rules.yaml:6: rule a: unknown field "severity"`},
		{rule("enabled: maybe"), `rules.yaml:6: rule a: enabled: invalid value "maybe": want true or false`},
		{rule("enabled: 1"), `rules.yaml:6: rule a: enabled: invalid value "1": want true or false`},
		{rule("enabled: ~"), `rules.yaml:6: rule a: enabled: invalid value "~": want true or false`},
		{rule("description: [a]"), `rules.yaml:6: rule a: description: invalid value (a list): want a text`},
		{rule("phase: body"), `rules.yaml:6: rule a: phase: unknown value "body": want request or response`},
		{rule("mode: shadow"), "rules.yaml:6: rule a: mode: has no effect on the action log"},
		{rule("mode: on", "action: {type: block}"), `rules.yaml:6: rule a: mode: unknown value "on": want shadow or enforce`},
		{rule("tags: a"), `rules.yaml:6: rule a: tags: invalid value "a": want a list of texts`},
		{rule("tags: [a, b, a]"), `rules.yaml:6: rule a: tags: "a" is there twice`},
		{rule("tags: [{}]"), `rules.yaml:6: rule a: tags: invalid value (fields): want a text`},
		{rule("tags: [" + strings.Repeat("a,", 33) + "]"), "rules.yaml:6: rule a: tags: 33 are more than 32"},

		{rule("action: block"), `rules.yaml:5: rule a: action: invalid value "block": want fields, each with a value`},
		{rule("action: {}"), "rules.yaml:5: rule a: action: has no type"},
		{rule("action: {type: drop}"), `rules.yaml:5: rule a: action: type: unknown value "drop": want log, block, allow, bypass_cache or limit`},
		{rule("action: {type: block, status: 403}"), `rules.yaml:5: rule a: action: unknown field "status"`},
		{rule("action: {type: block, status_code: 302}"), `rules.yaml:5: rule a: action: status_code: invalid value "302": want a whole number from 400 to 599`},
		{rule("action: {type: block, status_code: 600}"), `rules.yaml:5: rule a: action: status_code: invalid value "600": want a whole number from 400 to 599`},
		{rule("action: {type: block, status_code: '403'}"), `rules.yaml:5: rule a: action: status_code: invalid value "403": want a whole number from 400 to 599`},
		{rule("action: {type: block, status_code: 403.5}"), `rules.yaml:5: rule a: action: status_code: invalid value "403.5": want a whole number from 400 to 599`},
		{rule("action: {type: log, status_code: 403}"), "rules.yaml:5: rule a: action: status_code: only with the type block"},
		{rule("action: {type: log, log: 5}"), `rules.yaml:5: rule a: action: log: invalid value "5": want true or false`},
		{rule("action: {type: limit}"), "rules.yaml:5: rule a: action: limit has no zone"},
		{rule("action: {type: block, zone: a}"), "rules.yaml:5: rule a: action: zone: only with the type limit"},
		{rule("action: {type: limit, zone: a}", "phase: response"), "rules.yaml:5: rule a: action: type: limit is for the phase request"},

		{rule("match: {}"), "rules.yaml:4: rule a: match: is empty"},
		{rule("match: [a]"), "rules.yaml:4: rule a: match: invalid value (a list): want fields, each with a value"},
		{rule("match: {path_regex: a}"), `rules.yaml:4: rule a: match: unknown field "path_regex"`},
		{rule("match: {any: []}"), "rules.yaml:4: rule a: any: is empty"},
		{rule("match: {any: {path_regex: a}}"), "rules.yaml:4: rule a: any: invalid value (fields): want a list of conditions"},
		{rule("match: {any: [{}]}"), "rules.yaml:4: rule a: an entry is empty"},
		{rule("match: {not: {}}"), "rules.yaml:4: rule a: an entry is empty"},
		{rule("match: {any: [a]}"), `rules.yaml:4: rule a: invalid value "a": want fields, each with a value`},
		{rule("match: {any: [{path: a}]}"), `rules.yaml:4: rule a: unknown field "path"`},
		{rule("match: {any: [{path_regex: '('}]}"), "rules.yaml:4: rule a: path_regex: error parsing regexp: missing closing ): `(`"},
		{rule("match: {any: [{path_regex: ''}]}"), "rules.yaml:4: rule a: path_regex: is empty"},
		{rule("match: {any: [{path_regex: [a]}]}"), "rules.yaml:4: rule a: path_regex: invalid value (a list): want a text"},
		{rule("match: {any: [{path_regex: '(?:a{999}b{999}){9}'}]}"), "rules.yaml:4: rule a: path_regex: error parsing regexp: invalid repeat count: `{9}`"},
		{rule("match: {any: [{path_regex: '(?:" + strings.Repeat("a{1000}", 20) + "'}]}"), "rules.yaml:4: rule a: path_regex: error parsing regexp: missing closing ): `(?:" + strings.Repeat("a{1000}", 20) + "`"},
		{rule("match: {any: [{path_regex: '" + strings.Repeat("a{1000}", 20) + "'}]}"), "rules.yaml:4: rule a: path_regex: the pattern is too large when its repetitions are written out"},
		{rule("match: {any: [{path_regex: " + strings.Repeat("a", 8193) + "}]}"), "rules.yaml:4: rule a: path_regex: 8193 bytes are more than 8192"},
		{rule("match: {any: [{ip_cidr: 10.0.0.0/33}]}"), `rules.yaml:4: rule a: ip_cidr: invalid address or CIDR "10.0.0.0/33"`},
		{rule("match: {any: [{ip_cidr: [10.0.0.1, host]}]}"), `rules.yaml:4: rule a: ip_cidr: invalid address or CIDR "host"`},
		{rule("match: {any: [{ip_cidr: []}]}"), "rules.yaml:4: rule a: ip_cidr: is empty"},
		{rule("match: {any: [{method: {a: b}}]}"), "rules.yaml:4: rule a: method: invalid value (fields): want a text"},
		{rule("match: {any: [{host: 'a.*.b'}]}"), `rules.yaml:4: rule a: host: invalid value "a.*.b": want a name such as example.com or *.example.com`},
		{rule("match: {any: [{protocol: HTTP/1.2}]}"), `rules.yaml:4: rule a: protocol: unknown value "HTTP/1.2": want HTTP/1.0, HTTP/1.1, HTTP/2 or HTTP/3`},
		{rule("match: {any: [{status: 200}]}"), "rules.yaml:4: rule a: status: only in the phase response"},
		{rule("match: {any: [{status: 6xx}]}", "phase: response"), `rules.yaml:4: rule a: status: invalid value "6xx": want a status, a class or a range, such as 404, 5xx or 500-504`},
		{rule("match: {any: [{status: 504-500}]}", "phase: response"), `rules.yaml:4: rule a: status: invalid value "504-500": want a status, a class or a range, such as 404, 5xx or 500-504`},
		{rule("match: {any: [{header_name: ' a', header_regex: b}]}"), `rules.yaml:4: rule a: header_name: invalid value " a": want printable characters without spaces around them`},
		{rule("match: " + strings.Repeat("{not: ", 9) + "{path_regex: a}" + strings.Repeat("}", 9)), "rules.yaml:4: rule a: not: is nested deeper than 8 times"},
	} {
		_, err := Parse("rules.yaml", []byte(test.text))
		require.EqualError(t, err, test.want, test.text)
	}

	_, err := Parse("rules.yaml", make([]byte, MaxSize+1))
	require.EqualError(t, err, "rules.yaml: 1048577 bytes are more than 1048576")
	_, err = Parse("rules.yaml", []byte("rules: ["+strings.Repeat("{id: a},", MaxRules+1)+"]"))
	require.EqualError(t, err, "rules.yaml:1: rules: 5001 are more than 5000")
	_, err = Parse("rules.yaml", []byte("rules: ["+strings.Repeat("{},", 20)+"]"))
	require.ErrorContains(t, err, "rule 10: has no id\nrules.yaml: and 10 more")
	large := "{path_regex: '" + strings.Repeat("a{1000}", 16) + "'},"
	_, err = Parse("rules.yaml", []byte(rule("match: {any: ["+strings.Repeat(large, 34)+"]}")))
	require.ErrorContains(t, err, "rule a: path_regex: the patterns of the file are too large together")
}

// TestParseTellsAllFaults shows that one fault does not hide others, with their lines.
func TestParseTellsAllFaults(t *testing.T) {
	_, err := Parse("conf/rules.yaml", []byte(`mode: both
rules:
  - id: block-sqli
    match:
      any:
        - path_regex: a
        - query_regex: "(?P<x"
    action: {type: block, status_code: 200}
  - id: other
    phase: later
    match: {any: [{method: GET}]}
    action: {type: deny}
`))
	require.EqualError(t, err, `conf/rules.yaml:1: mode: unknown value "both": want shadow or enforce
conf/rules.yaml:7: rule block-sqli: query_regex: error parsing regexp: invalid named capture: `+"`(?P<x`"+`
conf/rules.yaml:8: rule block-sqli: action: status_code: invalid value "200": want a whole number from 400 to 599
conf/rules.yaml:10: rule other: phase: unknown value "later": want request or response
conf/rules.yaml:12: rule other: action: type: unknown value "deny": want log, block, allow, bypass_cache or limit`)
}

func TestWarnings(t *testing.T) {
	p := parse(t, rule("match: {any: [{method: POST, path_regex: ^/admin}]}"))
	require.Equal(t, []string{"rules.yaml:4: rule a: any: an entry with several fields matches when one of them does; under all each must"}, p.Warnings)
	require.Empty(t, parse(t, rule("match: {any: [{header_name: A, header_regex: b}], all: [{method: POST, path_regex: ^/admin}]}")).Warnings)
}

// FuzzParse: whatever is accepted can be used as it is, and what is not is told with the
// name of the file.
func FuzzParse(f *testing.F) {
	f.Add([]byte(published))
	f.Add([]byte(rule("match: {all: [{not: {path_regex: a}}, {status: 5xx}]}", "phase: response")))
	f.Add([]byte(rule("mode: enforce", "action: {type: limit, zone: a}", "tags: [b]") + "pack: {name: a, version: 1.0.0, requires: {edge: '>1.0.0'}}"))
	f.Add([]byte("a: &a [b]\nb: [*a, *a]\n<<: *a"))
	f.Add([]byte("rules:\n- ? [a]\n  : b"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Parse("x.yaml", text)
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\nx.yaml") {
				require.True(t, strings.HasPrefix(line, "x.yaml") || strings.HasPrefix(line, ":"), err.Error())
			}
			return
		}
		require.NotEmpty(t, p.Rules)
		ids := map[string]bool{}
		for _, r := range p.Rules {
			require.False(t, r.ID == "" || ids[r.ID])
			ids[r.ID] = true
			require.NotNil(t, r.when)
			require.Equal(t, r.Action == Block, r.Status != 0)
			require.Equal(t, r.Action == Limit, r.Zone != "")
		}
		versions := map[string]string{}
		for _, r := range p.Requires {
			versions[r.Of] = "1.0.0"
		}
		p.Requires = nil
		s, err := Compile([]*Pack{p}, versions)
		require.NoError(t, err)
		count := 0
		s.Request(&Request{Method: "GET", Path: "/a%2Fb", RawQuery: "a=b&c"}, func(m Match) { count++ })
		s.Response(&Request{Method: "GET", Path: "/"}, &Response{Status: 500}, func(m Match) { count++ })
		require.LessOrEqual(t, count, len(p.Rules))
	})
}
