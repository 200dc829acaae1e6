package audit_test

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgewaf/audit"
)

func TestExcerptHidesSecrets(t *testing.T) {
	for _, key := range []string{"password", "user[Passwd]", "json.login.pwd", "api_key", "X-Auth-Token", "PHPSESSID", "card_number"} {
		require.Equal(t, audit.Redacted, audit.Excerpt("ARGS", key, "hunter2"), key)
	}
	for _, variable := range []string{"REQUEST_COOKIES", "REQUEST_BODY", "QUERY_STRING", "REQUEST_URI", "RESPONSE_BODY", "REQUEST_XML", "XML", "RESPONSE_XML", "TX", "MATCHED_VAR"} {
		require.Equal(t, audit.Redacted, audit.Excerpt(variable, "q", "hunter2"), variable)
	}
	require.Equal(t, "1 union select", audit.Excerpt("ARGS", "q", "1 union select"))
}

func TestClean(t *testing.T) {
	require.Equal(t, "a\uFFFDb\uFFFD[31m\uFFFD", audit.Clean("a\nb\x1b[31m\u202e", 100))
	require.Equal(t, "é…", audit.Clean("éé", 3))
	require.Equal(t, "ab…", audit.Clean("abc", 2))
	require.Equal(t, "a\uFFFD", audit.Clean("a\xff", 10))
}

func FuzzClean(f *testing.F) {
	f.Add("é\xff\x00", 3)
	f.Fuzz(func(t *testing.T, s string, n int) {
		if n < 0 || n > 1000 {
			return
		}
		clean := audit.Clean(s, n)
		require.True(t, utf8.ValidString(clean))
		require.LessOrEqual(t, len(clean), 3*n+len("…"))
		require.Equal(t, -1, strings.IndexFunc(clean, func(r rune) bool { return r < ' ' || r == 0x7f }))
	})
}

func TestRingKeepsTheLatest(t *testing.T) {
	r := audit.NewRing(3)
	for i := range 5 {
		r.Add(audit.Event{Rule: strconv.Itoa(i)})
	}
	rules := func(list []audit.Event) (out []string) {
		for _, e := range list {
			out = append(out, e.Rule)
		}
		return out
	}
	require.Equal(t, []string{"4", "3", "2"}, rules(r.Latest(10, nil)))
	require.Equal(t, []string{"4"}, rules(r.Latest(1, nil)))
	require.Equal(t, []string{"3"}, rules(r.Latest(10, func(e *audit.Event) bool { return e.Rule == "3" })))
	require.EqualValues(t, 5, r.Total())
	r = r.Resize(2)
	require.Equal(t, []string{"4", "3"}, rules(r.Latest(10, nil)))
	require.EqualValues(t, 5, r.Total())
	r = r.Resize(4)
	r.Add(audit.Event{Rule: "5"})
	require.Equal(t, []string{"5", "4", "3"}, rules(r.Latest(10, nil)))
	require.Same(t, r, r.Resize(4))
}

func TestEventIsBounded(t *testing.T) {
	var e audit.Event
	for range audit.MaxFindings + 5 {
		e.Add(audit.Finding{Rule: "1"})
	}
	require.Len(t, e.Findings, audit.MaxFindings)
	require.Equal(t, 5, e.Omitted)
}

// event is one with a finding.
func event(client, path, rule, variable string) *audit.Event {
	return &audit.Event{Action: "shadow", Method: "GET", Client: client, Path: path, Findings: []audit.Finding{{Rule: rule, Variable: variable, Message: "m" + rule}}}
}

func TestTunerProposesTheMostFrequentFirst(t *testing.T) {
	var tuner audit.Tuner
	for i := range 3 {
		tuner.Add(event("192.0.2."+strconv.Itoa(i), "/search", "942100", "ARGS:q"))
	}
	tuner.Add(event("192.0.2.1", "/login", "942100", "ARGS:json.user.name"))
	for i := range 5 { // in many paths: a matter of the site
		tuner.Add(event("192.0.2.1", "/p"+strconv.Itoa(i), "920450", "REQUEST_HEADERS:X-Odd"))
	}
	for range 2 {
		tuner.Add(event("192.0.2.9", "/a b", "block-sqli", "query"))
	}
	got := tuner.Propose()
	require.Contains(t, got[0].Example, "GET /p")
	tuner.Add(&audit.Event{Action: "log", Findings: []audit.Finding{{Rule: "1"}}}) // passes as it is
	require.Equal(t, []audit.Proposal{
		{Line: "exclude rule 920450 header X-Odd", Findings: 5, Clients: 1, Message: "m920450", Example: got[0].Example},
		{Line: "exclude rule 942100 param q path /search", Findings: 3, Clients: 3, Message: "m942100", Example: "GET /search"},
		{Line: `skip rule block-sqli`, Findings: 2, Clients: 1, Message: "mblock-sqli", Example: "GET /a b"},
		{Line: "exclude rule 942100 param user.name path /login", Findings: 1, Clients: 1, Message: "m942100", Example: "GET /login"},
	}, got)
	require.Equal(t, got, tuner.Propose())
	require.Equal(t, 12, tuner.Events())
}

func TestLineQuotes(t *testing.T) {
	require.Equal(t, `exclude rule 1 param "a b" path "/x y"`, audit.Line("1", "ARGS:a b", "/x y"))
	require.Equal(t, `exclude rule 1 param "a\"{b}"`, audit.Line("1", `ARGS:a"{b}`, ""))
	require.Equal(t, "exclude rule 1 path /x", audit.Line("1", "REQUEST_BODY", "/x"))
}

func TestLineOfWhatIsNoRule(t *testing.T) {
	for _, rule := range []string{"body-limit", "budget", "engine", "response-limit", ""} {
		require.Empty(t, audit.Line(rule, "", "/x"), rule)
	}
	var tuner audit.Tuner
	tuner.Add(event("192.0.2.1", "/", "budget", ""))
	require.Empty(t, tuner.Propose())
	require.Equal(t, 1, tuner.Events())
	require.Equal(t, "skip rule 1001", audit.Line("1001", "param id", "/"), "of a pack")
}

// TestLineIsNoPattern: names that are patterns in a configuration are left out of it.
func TestLineIsNoPattern(t *testing.T) {
	require.Equal(t, "exclude rule 1 path /x", audit.Line("1", "ARGS:a*", "/x"))
	require.Equal(t, "exclude rule 1 path /x", audit.Line("1", "ARGS:abc…", "/x"))
	require.Equal(t, "exclude rule 1 path /x", audit.Line("1", "REQUEST_COOKIES:a\uFFFD", "/x"))
	require.Equal(t, "exclude rule 1 param q", audit.Line("1", "ARGS:q", "/*"))
	require.Equal(t, "exclude rule 1 param q", audit.Line("1", "ARGS:q", "/abc…"))
	require.Equal(t, "exclude rule 1 param q", audit.Line("1", "ARGS:q", "/{$HOME}"))
	require.Empty(t, audit.Line("1", "ARGS:*", ""))
	require.Empty(t, audit.Line("1", "ARGS:*", "/*"))
	require.Empty(t, audit.Line("1", "REQUEST_BODY", "/*"))
	require.Equal(t, "exclude rule 1", audit.Line("1", "REQUEST_BODY", ""))
}
