package crs

import (
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// compiled is a rule set of options, for as long as the test lasts.
func compiled(t testing.TB, o Options) *Engine {
	t.Helper()
	require.NoError(t, o.Validate())
	plan, err := Prepare(&o, Limits{Body: 1 << 17, Response: 1 << 19, ResponseTypes: []string{"text/html"}})
	require.NoError(t, err)
	e, err := plan.Compile()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

// get is a request as a browser makes it.
func get(uri string) *Request {
	return &Request{
		ID: "test", Method: "GET", URI: uri, Proto: "HTTP/1.1", Host: "example.com", Client: netip.MustParseAddr("192.0.2.1"),
		Header: http.Header{"User-Agent": {"Mozilla/5.0"}, "Accept": {"*/*"}},
	}
}

const sqli = "/search?q=1%27+union+select+password+from+users--+-"

func TestVerdict(t *testing.T) {
	e := compiled(t, Options{})
	require.Greater(t, e.Stats().Rules, 300)
	require.Greater(t, e.Stats().Bytes, int64(100<<10))
	s := e.Begin(get(sqli), nil)
	v := s.Request()
	require.NoError(t, s.Close())
	require.NoError(t, s.Close(), "closing again does nothing")
	require.True(t, v.Blocked)
	require.Zero(t, v.Status, "the rule set has none of its own")
	require.Equal(t, 942100, v.Rule)
	require.GreaterOrEqual(t, v.Inbound, 5)
	require.Equal(t, v.Inbound, v.InboundDetection)
	require.Zero(t, v.Outbound)
	m := v.Matches[0]
	require.Equal(t, Match{
		Rule: 942100, Message: "SQL Injection Attack Detected via libinjection", Tags: m.Tags, Severity: "critical", Paranoia: 1, Phase: 2,
		Variable: "ARGS", Key: "q", Value: "1' union select password from users-- -", Data: m.Data, Count: 1,
	}, m)
	for _, m := range v.Matches {
		require.False(t, bookkeeping(m.Rule))
	}

	s = e.Begin(get("/"), nil)
	defer s.Close()
	require.Equal(t, Verdict{}, s.Request())
}

func TestRemoval(t *testing.T) {
	e := compiled(t, Options{})
	removal, err := e.Removal(&Exclusion{Tags: []string{"attack-sqli"}})
	require.NoError(t, err)
	s := e.Begin(get(sqli), []*Removal{removal})
	v := s.Request()
	require.NoError(t, s.Close())
	require.False(t, v.Blocked)
	require.Empty(t, v.Matches)
	// Transactions are used again: nothing of the removal is left.
	s = e.Begin(get(sqli), nil)
	defer s.Close()
	require.True(t, s.Request().Blocked)
}

func TestKeyOfARuleSet(t *testing.T) {
	dir := t.TempDir()
	conf, words := filepath.Join(dir, "a.conf"), filepath.Join(dir, "words.data")
	write := func(name, text string) { require.NoError(t, os.WriteFile(name, []byte(text), 0o600)) }
	write(words, "one\n")
	write(conf, `SecRule ARGS "@pmFromFile `+words+`" "id:1001,phase:2,deny,status:403"`+"\n")
	plan := func() *Plan {
		p, err := Prepare(&Options{Off: true, Include: []string{conf}, Paranoia: 1, MaxArgs: 10}, Limits{Body: 1, Response: 1})
		require.NoError(t, err)
		return p
	}
	_, known := plan().Key()
	require.False(t, known, "which files it is made of shows when it is compiled")
	e, err := plan().Compile()
	require.NoError(t, err)
	defer e.Close()
	key, known := plan().Key()
	require.True(t, known)
	require.Equal(t, e.Key(), key)
	write(words, "two\n")
	key, _ = plan().Key()
	require.NotEqual(t, e.Key(), key)
	changed, err := plan().Compile()
	require.NoError(t, err)
	defer changed.Close()
	require.Equal(t, changed.Key(), key)
	blocks := func(e *Engine, uri string) bool {
		s := e.Begin(get(uri), nil)
		defer s.Close()
		return s.Request().Blocked
	}
	require.True(t, blocks(e, "/?a=one"))
	require.False(t, blocks(e, "/?a=two"))
	require.True(t, blocks(changed, "/?a=two"))
	require.False(t, blocks(changed, "/?a=one"))
}

// TestDatasetsAreOfTheirRuleSet: two rule sets have datasets of one name.
func TestDatasetsAreOfTheirRuleSet(t *testing.T) {
	dir := t.TempDir()
	set := func(name, word string) *Engine {
		conf := filepath.Join(dir, name)
		text := "SecDataset words `\n" + word + "\n`\nSecRule ARGS \"@pmFromDataset words\" \"id:1001,phase:2,deny,status:403,capture,msg:'%{TX.0}'\"\n"
		require.NoError(t, os.WriteFile(conf, []byte(text), 0o600))
		return compiled(t, Options{Off: true, Include: []string{conf}})
	}
	for word, e := range map[string]*Engine{"alpha": set("a.conf", "alpha"), "beta": set("b.conf", "beta")} {
		s := e.Begin(get("/?a=ALPHA+beta"), nil)
		v := s.Request()
		require.NoError(t, s.Close())
		require.True(t, v.Blocked)
		require.Equal(t, word, strings.ToLower(v.Matches[0].Message))
	}
}

func TestStatements(t *testing.T) {
	list, err := statements("f", "# c\nA 1\n\nB \\\n  2 \\\n  3\nC `\nx\n`\n")
	require.NoError(t, err)
	require.Equal(t, []statement{{2, 2, "A 1\n"}, {4, 6, "B \\\n  2 \\\n  3\n"}, {7, 9, "C `\nx\n`\n"}}, list)
}

// FuzzStatements wants all that is no comment in some statement, or an error.
func FuzzStatements(f *testing.F) {
	f.Add("A \\\nB\n`\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := statements("f", text)
		if err != nil {
			return
		}
		last := 0
		for _, s := range list {
			require.Greater(t, s.first, last)
			require.GreaterOrEqual(t, s.last, s.first)
			last = s.last
		}
	})
}
