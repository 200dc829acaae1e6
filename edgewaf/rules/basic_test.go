package rules

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The corpora are files of testdata: a case is a request as with() reads it, and cases
// are divided by lines of "---". A line that begins with "##" is a comment. In those of
// attacks the id of the rule that must find it stands in front, as "=> id".
func corpus(t testing.TB, name string) (cases []string) {
	text, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	for part := range strings.SplitSeq(string(text), "\n---\n") {
		var lines []string
		for line := range strings.SplitSeq(strings.Trim(part, "\n"), "\n") {
			if !strings.HasPrefix(line, "##") {
				lines = append(lines, line)
			}
		}
		if len(lines) > 0 {
			cases = append(cases, strings.Join(lines, "\n"))
		}
	}
	return cases
}

func basic(t testing.TB) *Set {
	s, err := Compile([]*Pack{Basic()}, nil)
	require.NoError(t, err)
	return s
}

func all(s *Set, r *Request) (list []Match) {
	s.Request(r, func(m Match) { list = append(list, m) })
	return list
}

const form = "application/x-www-form-urlencoded"

// spread returns a request with a text in each place where it can be: as it is sent in
// the query, in a form, in JSON and in plain text.
func spread(text string) []*Request {
	json := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "<", `\u003c`, "'", `\u0027`).Replace(text)
	return []*Request{
		with("/search?lang=en&q=" + url.QueryEscape(text) + "&page=1"),
		with("POST /comments\nContent-Type: " + form + "\n\ntitle=x&text=" + url.QueryEscape(text) + "&page=1"),
		with("POST /comments\nContent-Type: application/json\n\n{\"title\": \"x\", \"text\": \"" + json + "\", \"page\": 1}"),
		with("POST /comments\nContent-Type: text/plain\n\n" + text),
	}
}

// TestBasicPassesOrdinaryRequests is the other half of what a firewall is good for.
func TestBasicPassesOrdinaryRequests(t *testing.T) {
	s := basic(t)
	passed, blocked, noted := 0, 0, 0
	look := func(r *Request, text string) {
		found := all(s, r)
		if v := Decide(found, nil); v.Block != nil {
			blocked++
			t.Errorf("%s, by %s\n%s", text, told(found[0]), r.RawQuery+string(r.Body))
			return
		} else if v.Would != nil {
			noted++
			t.Logf("noted by %s: %.70q", told(found[0]), text)
		}
		passed++
	}
	for _, text := range corpus(t, "ordinary_requests.txt") {
		look(with(text), text)
	}
	for _, text := range corpus(t, "ordinary_texts.txt") {
		for _, r := range spread(text) {
			look(r, text)
		}
	}
	t.Logf("ordinary requests: %d true negatives (%d of them noted by the rule in shadow mode), %d false positives", passed, noted, blocked)
	require.Greater(t, passed, 200)
	require.Zero(t, blocked)
}

// TestBasicFindsAttacks sends each attack as it is, encoded in ways that hide it, and in
// each place where it works.
func TestBasicFindsAttacks(t *testing.T) {
	s := basic(t)
	found, missed := map[string]int{}, map[string]int{}
	look := func(r *Request, id, text string) {
		for _, m := range all(s, r) {
			if m.Rule.ID == id {
				found[id]++
				return
			}
		}
		missed[id]++
		t.Errorf("%s misses %s\n%s", id, text, r.Path+"?"+r.RawQuery+"\n"+string(r.Body))
	}
	for _, text := range corpus(t, "attack_requests.txt") {
		id, text, ok := strings.Cut(strings.TrimPrefix(text, "=> "), "\n")
		require.True(t, ok)
		look(with(text), id, text)
	}
	for _, text := range corpus(t, "attack_texts.txt") {
		id, text, ok := strings.Cut(strings.TrimPrefix(text, "=> "), "\n")
		require.True(t, ok)
		for _, how := range disguises {
			hidden := how(text)
			for _, r := range spread(hidden) {
				look(r, id, hidden)
			}
			look(with("/item?id="+url.QueryEscape(url.QueryEscape(hidden))), id, hidden)
			look(with("/item?id="+everyByte(hidden)), id, hidden)
			look(with("/item?id="+everyByte(everyByte(hidden))), id, hidden)
			look(with("POST /item\nContent-Type: "+form+"\n\nid="+everyByte(hidden)), id, hidden)
		}
	}
	for _, r := range s.Rules() {
		t.Logf("%s: %d true positives, %d false negatives", r.ID, found[r.ID], missed[r.ID])
		require.Greater(t, found[r.ID], 20)
		require.Zero(t, missed[r.ID])
	}
}

// disguises write an attack in other ways that mean the same to the one who is attacked.
var disguises = map[string]func(string) string{
	"plain": func(s string) string { return s },
	"upper": strings.ToUpper,
	"mixed": func(s string) string {
		b := []byte(strings.ToLower(s))
		for i := range b {
			if i%2 == 0 && b[i] >= 'a' && b[i] <= 'z' {
				b[i] -= 'a' - 'A'
			}
		}
		return string(b)
	},
	// Line feeds and tabs separate words as spaces do, in SQL as in HTML.
	"lines": func(s string) string { return strings.ReplaceAll(s, " ", "\n") },
	"tabs":  func(s string) string { return strings.ReplaceAll(s, " ", "\t") },
}

// everyByte escapes all of a text.
func everyByte(text string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i := range len(text) {
		b.WriteString("%" + digits[text[i]>>4:][:1] + digits[text[i]&15:][:1])
	}
	return b.String()
}

// TestBasicComments: comments between the words of SQL hide nothing.
func TestBasicComments(t *testing.T) {
	s := basic(t)
	n := 0
	for _, text := range corpus(t, "attack_texts.txt") {
		id, text, _ := strings.Cut(strings.TrimPrefix(text, "=> "), "\n")
		if id != "basic-sql-injection" {
			continue
		}
		for _, comment := range []string{"/**/", "/* x */", "/**a*b**/", "/*!50000*/", " --x\n", " #\n"} {
			// A space behind "--" belongs to it.
			hidden := strings.ReplaceAll(strings.ReplaceAll(text, "-- -", "--"), " ", comment)
			for _, r := range spread(hidden)[:2] {
				v := Decide(all(s, r), nil)
				require.NotNil(t, v.Block, hidden)
				require.Equal(t, id, v.Block.ID)
				n++
			}
		}
	}
	t.Logf("SQL with comments: %d true positives", n)
}

// TestBasicPack checks the pack itself.
func TestBasicPack(t *testing.T) {
	p := Basic()
	require.Same(t, p, Basic())
	require.Equal(t, "basic", p.Name)
	require.Equal(t, "1.0.0", p.Version)
	require.Empty(t, p.Warnings)
	require.Equal(t, Enforce, p.Mode)
	modes := map[string]Mode{}
	for _, r := range p.Rules {
		require.True(t, r.Enabled)
		require.Equal(t, Block, r.Action)
		require.NotEmpty(t, r.Description)
		require.NotEmpty(t, r.Tags)
		modes[r.ID] = r.Mode
	}
	require.Equal(t, map[string]Mode{"basic-path-traversal": Enforce, "basic-sql-injection": Enforce, "basic-xss": Shadow, "basic-scanners": Enforce}, modes)

	// What is looked for in bodies is what is looked for in queries.
	lines := strings.Split(string(basicText), "\n")
	queries := map[string]bool{}
	for _, line := range lines {
		if expr, ok := strings.CutPrefix(line, "        - query_regex: "); ok {
			queries[expr] = true
		}
	}
	for _, line := range lines {
		if expr, ok := strings.CutPrefix(line, "        - body_regex: "); ok {
			require.True(t, queries[expr], expr)
		}
	}
}
