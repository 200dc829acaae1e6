package rules

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// with makes a request. Of the text the first line is METHOD URI, or URI; fields follow,
// and the body behind an empty line.
func with(text string) *Request {
	head, body, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	method, uri, ok := strings.Cut(lines[0], " ")
	if !ok || strings.ToUpper(method) != method {
		method, uri = "GET", lines[0]
	}
	path, query, _ := strings.Cut(uri, "?")
	r := &Request{
		Method: method, Path: path, RawQuery: query, Host: "www.example.com", Proto: "HTTP/1.1",
		Header: http.Header{}, Client: netip.MustParseAddr("192.0.2.7"), Body: []byte(body),
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
	return r
}

// matches returns what a request matches, as "id where" or "id where=excerpt".
func matches(s *Set, r *Request) (list []string) {
	s.Request(r, func(m Match) { list = append(list, told(m)) })
	return list
}

func told(m Match) string {
	text := m.Rule.ID + " " + m.Where
	if m.Excerpt != "" {
		text += "=" + m.Excerpt
	}
	return text
}

func TestPublishedMatches(t *testing.T) {
	s := compile(t, published)
	const agent = "\nUser-Agent: curl/8.0"
	for text, want := range map[string][]string{
		"/" + agent:                        {},
		"/a/../b" + agent:                  {"block-dotdot path=../"},
		"/a/%2E%2e/b" + agent:              {"block-dotdot path=%2E%2e"},
		"/a/%252e%252e/b" + agent:          {"block-dotdot path=%2e%2e"},
		"/a/..%2Fb" + agent:                {"block-dotdot path=../"},
		"/?debug=1" + agent:                {"log-all-kinds query=debug=1"},
		"/?de%62ug=1" + agent:              {"log-all-kinds query=debug=1"},
		"POST /" + agent + "\n\nmy Secret": {"log-all-kinds body=Secret"},
		"/" + agent + "\nX-Debug: 0":       {"log-all-kinds header X-Debug=0"},
		"/" + agent + "\nX-Debug: ":        {},
		"/" + agent + "\nX-Probe: On":      {"log-all-kinds header X-Probe=X-Probe:On"},
		"/" + agent + "\nX-Probe:  On":     {"log-all-kinds header X-Probe=X-Probe: On"},
		"DELETE /" + agent:                 {"log-all-kinds method=DELETE"},
		"/":                                {"log-all-kinds header User-Agent"},
		"/\nUser-Agent: ":                  {"log-all-kinds header User-Agent"},
		"PUT /" + agent + "\nContent-Type: Application/XML; charset=utf-8": {"log-all-kinds header Content-Type=Application/XML; charset=utf-8"},
		"/healthz" + agent:             {},
		"/private/a" + agent:           {"private path=/private/"},
		"/private/../?debug=1" + agent: {"block-dotdot path=../", "log-all-kinds query=debug=1", "private path=/private/"},
	} {
		r := with(text)
		r.Client = netip.MustParseAddr("198.51.100.1")
		require.Equal(t, append([]string{}, want...), append([]string{}, matches(s, r)...), text)
	}
	r := with("/" + agent)
	require.Equal(t, []string{"log-all-kinds client=192.0.2.7"}, matches(s, r))
	r.Client = netip.MustParseAddr("::ffff:192.0.2.9")
	require.Equal(t, []string{"log-all-kinds client=192.0.2.9"}, matches(s, r))
	r.Client = netip.Addr{}
	require.Empty(t, matches(s, r))
	r.Method = "Delete"
	require.Equal(t, []string{"log-all-kinds method=Delete"}, matches(s, r), "whatever its case")
}

// TestConditions: each row has what is under match, a request that matches, with where,
// and one that does not.
func TestConditions(t *testing.T) {
	for _, test := range []struct{ match, in, where, out string }{
		{"{any: [{query_regex: '^admin$'}]}", "/?a=1&b=%61dmin", "param b=admin", "/?a=1&b=xadmin"},
		{"{any: [{query_regex: '^a d$'}]}", "/?a=1&b=a+d", "param b=a d", "/?b=a"},
		{"{any: [{query_regex: '^a d$'}]}", "/?x&a%2520d=1", "param a%2520d=a d", "/?x"},
		{"{any: [{query_regex: '^$'}]}", "/", "query", "/?a=b"},
		{"{any: [{query_regex: 'b=1'}]}", "/?a=1&b=1", "query=b=1", "/?b=2"},
		{"{any: [{query_regex: 'evil'}]}", "/?ok=1&id=not+%2565vil", "param id=evil", "/?id=evi&l"},
		{"{any: [{query_regex: '50%'}]}", "/?a=50%", "param a=50%", "/?a=50"},
		{"{any: [{path_regex: '^/a b'}]}", "/a%20b", "path=/a b", "/a+b"},
		{"{any: [{path_regex: '^/%'}]}", "/%25", "path=/%", "/a"},
		{"{any: [{body_regex: '^admin$'}]}", "POST /\nContent-Type: application/x-www-form-urlencoded\n\na=1&b=%61dmin", "param b=admin", "POST /\nContent-Type: text/plain\n\na=1&b=%61dmin"},
		{"{any: [{body_regex: 'a<b'}]}", "POST /\nContent-Type: application/X-WWW-Form-URLEncoded;charset=utf-8\n\nx=a%3Cb", "param x=a<b", "POST /\n\nx=a%3Cb"},
		{"{any: [{body_regex: 'a<b\"'}]}", "POST /\nContent-Type: application/problem+json\n\n" + `{"x": "a\u003cb\""}`, `param x=a<b"`, "POST /\n\n" + `{"x": "a\u003cb\""}`},
		{"{any: [{body_regex: '^a\"b$'}]}", "POST /\nContent-Type: text/json\n\n" + `{"x": {"y" : [1, "z", "a\"b"]}}`, `param y=a"b`, "POST /\nContent-Type: text/json\n\n" + `{"x": "a\"b` + `c"}`},
		{"{any: [{body_regex: '^y$'}]}", "POST /\nContent-Type: text/json\n\n" + `{"x": "y`, `param x=y`, "POST /\nContent-Type: text/json\n\n" + `{"x": "y\`},
		{"{any: [{body_regex: '.*'}]}", "POST /\n\nx", "body=x", "POST /"},
		{"{any: [{user_agent_regex: 'bot'}]}", "/\nUser-Agent: a\nUser-Agent: bot", "header User-Agent=bot", "/\nUser-Agent: b"},
		{"{any: [{header_name: x-tenant}]}", "/\nX-Tenant: ä", "header X-Tenant=ä", "/\nX-Tenants: a"},
		{"{any: [{header_name: Host}]}", "/\nHost: a", "header Host=a", "/\nHost: "},
		{"{any: [{header_regex: '^X-Tenant:a$'}]}", "/\nX-Tenant: b\nX-Tenant: a", "header X-Tenant=X-Tenant:a", "/\nX-Tenant: ab"},
		{"{any: [{header_name: x-tenant, header_regex: '^a$'}]}", "/\nX-Tenant: b\nX-Tenant: a", "header X-Tenant=a", "/\nX-Tenant: ab\nX-Other: a"},
		{"{any: [{header_name: x-tenant, header_regex: 'Tenant:a'}]}", "/\nX-Tenant: a", "header X-Tenant=Tenant:a", "/\nX-Tenant: b"},
		{"{any: [{header_name: Authorization, header_regex: '^Basic'}]}", "/\nAuthorization: Basic abc", "header Authorization", "/\nAuthorization: Bearer Basic"},
		{"{any: [{cookie_name: sid}]}", "/\nCookie: a=b; sid=c", "cookie sid", "/\nCookie: Sid=c"},
		{"{any: [{cookie_regex: 'a b'}]}", "/\nCookie: x=1\nCookie: y=a%20b", "cookie y", "/\nCookie: y=a+b"},
		{"{any: [{cookie_name: y, cookie_regex: '^a$'}]}", "/\nCookie: x=b; y=a", "cookie y", "/\nCookie: x=a; y=b"},
		{"{any: [{content_type: [text/xml, json]}]}", "/\nContent-Type: application/JSON", "header Content-Type=application/JSON", "/\nContent-Type: text/plain"},
		{"{any: [{method: [PUT, patch]}]}", "PATCH /", "method=PATCH", "GET /"},
		{"{any: [{ip_cidr: [10.0.0.0/8, 192.0.2.7]}]}", "/", "client=192.0.2.7", ""},
		{"{any: [{host: EXAMPLE.com}]}", "/\nHost: example.COM.:8080", "host=example.COM.:8080", "/\nHost: a.example.com"},
		{"{any: [{host: '*.example.com'}]}", "/\nHost: a.b.Example.com", "host=a.b.Example.com", "/\nHost: example.com"},
		{"{any: [{host: '[::1]'}]}", "/\nHost: [::1]:80", "host=[::1]:80", "/\nHost: [::2]:80"},
		{"{any: [{host: '*.example.com'}]}", "/\nHost: a.example.com", "host=a.example.com", "/\nHost: aexample.com"},
		{"{any: [{protocol: [HTTP/1.0, http/1.1]}]}", "/", "protocol=HTTP/1.1", ""},

		{"{all: [{method: GET}, {path_regex: b}]}", "/b", "method=GET", "POST /b"},
		{"{all: [{method: GET, path_regex: b}]}", "/b", "", "/a"},
		{"{any: [{method: POST, path_regex: b}]}", "/b", "path=b", "/a"},
		{"{not: [{path_regex: a}, {method: PUT}]}", "/b", "absent", "PUT /b"},
		{"{not: {method: GET, path_regex: b}}", "POST /a", "absent", "POST /b"},
		{"{any: [{path_regex: a}], not: {header_name: X}}", "/a", "path=a", "/a\nX: y"},
		{"{any: [{path_regex: a}], all: [{method: GET}]}", "/a", "path=a", "POST /a"},
		{"{any: [{all: [{path_regex: a}, {method: PUT}]}, {query_regex: b}]}", "/a?b", "param b=b", "/a"},
		{"{all: [{any: [{path_regex: x}, {path_regex: a}]}, {not: {not: {method: GET}}}]}", "/a", "path=a", "PUT /a"},
	} {
		s := compile(t, rule("match: "+test.match))
		got := matches(s, with(test.in))
		require.Len(t, got, 1, "%s: %s", test.match, test.in)
		if test.where != "" {
			require.Equal(t, "a "+test.where, got[0], test.match)
		}
		if test.out != "" {
			require.Empty(t, matches(s, with(test.out)), "%s: %s", test.match, test.out)
		}
	}
}

func TestProtocols(t *testing.T) {
	s := compile(t, rule("match: {any: [{protocol: [HTTP/2, http/3.0]}]}"))
	for proto, want := range map[string]bool{"HTTP/1.0": false, "HTTP/1.1": false, "HTTP/2.0": true, "HTTP/2": true, "HTTP/3.0": true, "": false} {
		require.Equal(t, want, len(matches(s, &Request{Proto: proto})) == 1, proto)
	}
}

func TestResponse(t *testing.T) {
	s := compile(t, `
rules:
- id: leak
  phase: response
  match:
    all:
    - status: [500-504, 404]
    - response_body_regex: 'at line \d+'
    - path_regex: ^/app/
  action: {type: block}
- id: server
  phase: response
  match:
    any:
    - response_header_name: X-Powered-By
    - response_header_name: Server
      response_header_regex: ^Apache
    - response_header_regex: '^Set-Cookie:debug='
    - response_content_type: msdownload
  action: {type: log}
- id: request
  match: {any: [{path_regex: ^/app/}]}
  action: {type: log}
`)
	require.True(t, s.NeedsResponse())
	require.True(t, s.NeedsResponseBody())
	require.False(t, s.NeedsBody())
	request := with("/app/x")
	answer := func(status int, body string, fields ...string) (list []string) {
		h := http.Header{}
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			h.Add(name, value)
		}
		s.Response(request, &Response{status, h, []byte(body)}, func(m Match) { list = append(list, told(m)) })
		return list
	}
	require.Equal(t, []string{"leak status=502"}, answer(502, "Error at line 7"))
	require.Equal(t, []string{"leak status=404"}, answer(404, "Error at line 7"))
	require.Empty(t, answer(505, "Error at line 7"))
	require.Empty(t, answer(502, "Error"))
	require.Empty(t, answer(502, ""))
	require.Equal(t, []string{"server response header Server=Apache"}, answer(200, "", "Server: Apache/2"))
	require.Equal(t, []string{"server response header X-Powered-By=x"}, answer(200, "", "X-Powered-By: x"))
	require.Equal(t, []string{"server response header Set-Cookie"}, answer(200, "", "Set-Cookie: a=b", "Set-Cookie: debug=secret"))
	require.Equal(t, []string{"server response header Content-Type=application/x-msdownload"}, answer(200, "", "Content-Type: application/x-msdownload"))
	require.Empty(t, answer(200, "", "Server: nginx"))
	require.Equal(t, []string{"request path=/app/"}, matches(s, request))
}

// TestBodyLimit: each pack sees as much of the body as it asks for.
func TestBodyLimit(t *testing.T) {
	small := "max_body_inspect_bytes: 10\n" + rule("id: small", "match: {any: [{body_regex: x}]}")
	large := "max_body_inspect_bytes: 20\n" + rule("id: large", "match: {any: [{body_regex: x}]}")
	path := "max_body_inspect_bytes: 99\n" + rule("id: path", "match: {any: [{path_regex: x}]}")
	s := compile(t, small, large, path)
	require.Equal(t, 20, s.BodyLimit(), "who looks at no body has no say")
	for _, order := range [][]string{{small, large}, {large, small}} {
		s := compile(t, order...)
		for at, want := range map[int]int{9: 2, 10: 1, 19: 1, 20: 0} {
			r := with("POST /\n\n" + strings.Repeat("-", at) + "x")
			require.Len(t, matches(s, r), want, at)
		}
	}
	require.Zero(t, compile(t, path).BodyLimit())
}

func TestNeeds(t *testing.T) {
	for match, want := range map[string]bool{
		"{any: [{path_regex: a}]}":                              false,
		"{any: [{body_regex: a}]}":                              true,
		"{all: [{not: {any: [{method: a}, {body_regex: a}]}}]}": true,
	} {
		s := compile(t, rule("match: "+match))
		require.Equal(t, want, s.NeedsBody(), match)
		require.False(t, s.NeedsResponse())
		require.False(t, compile(t, rule("match: "+match, "enabled: no")).NeedsBody())
	}
}

// TestNilSet: nothing is a set without rules.
func TestNilSet(t *testing.T) {
	var s *Set
	require.Empty(t, matches(s, with("/")))
	s.Response(with("/"), &Response{}, func(Match) { t.Fail() })
	require.False(t, s.NeedsBody() || s.NeedsResponse() || s.NeedsResponseBody())
	require.Zero(t, s.BodyLimit())
	require.Empty(t, s.Hash()+strings.Join(nil, ""))
	require.Nil(t, s.Packs())
	require.Nil(t, s.Rules())
	require.Nil(t, s.Rule("a"))
	require.NoError(t, NoDowngrade(s, s))
}

func TestCompileErrors(t *testing.T) {
	a, err := Parse("a.yaml", []byte(rule()))
	require.NoError(t, err)
	b, err := Parse("b.yaml", []byte("mode: enforce\n"+rule()))
	require.NoError(t, err)
	_, err = Compile([]*Pack{a, b}, nil)
	require.EqualError(t, err, "b.yaml:4: rule a: there is another one of this id in a.yaml:3")
	c, err := Parse("c.yaml", []byte(rule("id: c")+"pack: {name: basic}"))
	require.NoError(t, err)
	_, err = Compile([]*Pack{Basic(), c}, nil)
	require.EqualError(t, err, "c.yaml:6: there is another pack basic in basic.yaml:6")
	s, err := Compile([]*Pack{a, c}, nil)
	require.NoError(t, err)
	require.Len(t, s.Rules(), 2)
	require.Equal(t, "c", s.Rule("c").ID)
	require.Nil(t, s.Rule("x"))
}

func TestExcerpt(t *testing.T) {
	s := compile(t, rule(`match: {any: [{query_regex: 'x[^%]*$'}, {header_name: X-Long}]}`))
	var m Match
	found := func(got Match) { m = got }
	s.Request(with("/?"+strings.Repeat("n", 200)+"=x"+strings.Repeat("ä", 100)), found)
	require.LessOrEqual(t, len(m.Where), MaxWhere)
	require.LessOrEqual(t, len(m.Excerpt), MaxExcerpt)
	require.True(t, strings.HasPrefix(m.Excerpt, "xää"))
	s.Request(with("/?a=x%ff%00"), found)
	require.Equal(t, "x?\x00", m.Excerpt)
	s.Request(with("/\nX-Long: "+strings.Repeat("a", 100)), found)
	require.Equal(t, strings.Repeat("a", MaxExcerpt), m.Excerpt)
}

// TestMatchesOutlive: what is told of a match does not change when the memory is used for
// the next request.
func TestMatchesOutlive(t *testing.T) {
	s := compile(t, rule(`match: {any: [{query_regex: 'x[AB].*'}]}`))
	r := with("POST /?a%20b=x%41")
	var list []Match
	for range 3 {
		s.Request(r, func(m Match) { list = append(list, m) })
		s.Request(with("/?c%20d=x%42&a=%20%20%20%20%20%20"), func(m Match) { list = append(list, m) })
	}
	for i, m := range list {
		require.Equal(t, []string{"xA", "xB"}[i%2], m.Excerpt)
	}
}

// TestNeverHiddenByEncoding: what is found in plain text is found encoded once and twice,
// wherever it is.
func TestNeverHiddenByEncoding(t *testing.T) {
	s := compile(t, rule(`match: {any: [{query_regex: 'e<v''i l'}, {path_regex: 'e<v''i l'}, {body_regex: 'e<v''i l'}]}`))
	rapid.Check(t, func(t *rapid.T) {
		encode := func(text string) string {
			var b strings.Builder
			for i := range len(text) {
				must := strings.IndexByte(" %&=+#?", text[i]) >= 0
				if must || rapid.Bool().Draw(t, "escape") {
					const digits, other = "0123456789ABCDEF", "0123456789abcdef"
					set := rapid.SampledFrom([]string{digits, other}).Draw(t, "case")
					b.WriteString("%" + set[text[i]>>4:][:1] + set[text[i]&15:][:1])
				} else {
					b.WriteByte(text[i])
				}
			}
			return b.String()
		}
		any := rapid.StringMatching(`[a-z&=% ]{0,8}`)
		text := any.Draw(t, "before") + "e<v'i l" + any.Draw(t, "after")
		for range rapid.IntRange(1, 2).Draw(t, "times") {
			text = encode(text)
		}
		around := rapid.StringMatching(`[a-z&=+]{0,6}`)
		text = around.Draw(t, "front") + "=" + text + "&" + around.Draw(t, "back")
		r := &Request{Method: "POST", Path: "/"}
		switch rapid.IntRange(0, 2).Draw(t, "place") {
		case 0:
			r.RawQuery = text
		case 1:
			r.Path += text
		default:
			r.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
			r.Body = []byte(text)
		}
		require.Len(t, matches(s, r), 1, text)
	})
}

// TestWholeHasParts: only patterns that look at the ends of a text must be tried on the
// parts of a query.
func TestWholeHasParts(t *testing.T) {
	exprs := []string{`a`, `a+b`, `(?i)a.b`, `\ba\b`, `a b`, `[^a]b`, `a?`, `\wb`, `%`, `a%b`, ` b`, `\Wa`, `(a|b)%`}
	rapid.Check(t, func(t *rapid.T) {
		p, _, err := newPattern(rapid.SampledFrom(exprs).Draw(t, "pattern"))
		require.NoError(t, err)
		require.False(t, p.anchored)
		query := rapid.StringMatching(`([ab&=+%]|%[0-9]{2}|%25|%26|%3[dD]|%2[0bB]|%6[1-2]|%256[1-2]){0,12}`).Draw(t, "query")
		v := newView(&Request{RawQuery: query}, nil)
		defer v.release()
		for _, part := range v.queryPieces() {
			if p.match(part.text) {
				require.True(t, v.query().find(p, nil, ""), "%q in %q", part.text, query)
			}
		}
	})
}

func TestAnchored(t *testing.T) {
	for expr, want := range map[string]bool{
		"a": false, "a.*b": false, `\ba\b`: false, "(a|b{2})+": false,
		"^a": true, "a$": true, `(?m)x(a|b$)`: true, `(?m)^`: true, `\Aa`: true, `(a\z)?`: true, `\Ba`: true,
	} {
		p, weight, err := newPattern(expr)
		require.NoError(t, err)
		require.Equal(t, want, p.anchored, expr)
		require.Positive(t, weight)
	}
}

// TestUnescape compares with decoding by the book, and checks that what is no escape
// stays.
func TestUnescape(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "a": "a", "%": "%", "%4": "%4", "%zz": "%zz", "%41": "A", "%4%41": "%4A", "%2541": "%41", "a+b": "a b", "%e4%F6": "\xe4\xf6", "%%41": "%A",
	} {
		got, changed := unescape([]byte("x"), text, true)
		if !changed {
			require.Equal(t, "x", string(got))
			got = append(got, text...)
		}
		require.Equal(t, "x"+want, string(got), text)
	}
	got, changed := unescape(nil, "a+b", false)
	require.False(t, changed)
	require.Empty(t, got)
	for text, want := range map[string]string{
		``: ``, `a`: `a`, `\`: `\`, `\x`: `\x`, `\n\t\r\b\f\/\\\"`: "\n\t\r\b\f/\\\"", `\u0041\u00e4`: "Aä", `\u00`: `\u00`, `\u00zz`: `\u00zz`, `\\u0041`: `\u0041`, `\ud83d`: "�",
	} {
		got, changed := unescapeJSON([]byte("x"), text)
		if !changed {
			got = append(got, text...)
		}
		require.Equal(t, "x"+want, string(got), text)
	}
}
