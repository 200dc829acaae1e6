package rx

import (
	"io/fs"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza-coreruleset/v4/tests"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// rule is an expression of the Core Rule Set, as Coraza compiles it.
type rule struct {
	expr  string
	bytes bool
	// level is the lowest paranoia level of the rules that have it, 0 where none is told.
	level byte
}

// ruleLine has target, operator and actions of a rule whose operator is @rx.
var ruleLine = regexp.MustCompile(`(?s)^SecRule\s+\S+\s+"!?@rx ((?:[^"\\]|\\.)*)"\s*"?(.*)$`)

// byteEscape is an escape that is no UTF-8 by itself.
var byteEscape = regexp.MustCompile(`\\x\{?[89a-fA-F][0-9a-fA-F]`)

// crsRules returns the distinct expressions of the Core Rule Set.
var crsRules = sync.OnceValue(func() (rules []rule) {
	known := make(map[string]int)
	files, err := fs.Glob(coreruleset.FS, "@owasp_crs/*.conf")
	must(err)
	for _, file := range files {
		text, err := fs.ReadFile(coreruleset.FS, file)
		must(err)
		for _, line := range directives(string(text)) {
			m := ruleLine.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			r := rule{expr: strings.TrimSpace(strings.ReplaceAll(m[1], `\"`, `"`))}
			if r.bytes = byteEscape.MatchString(r.expr); !r.bytes {
				r.expr = "(?sm)" + r.expr
			}
			if _, level, ok := strings.Cut(m[2], "paranoia-level/"); ok {
				r.level = level[0] - '0'
			}
			if i, ok := known[r.expr]; ok {
				rules[i].level = min(rules[i].level, r.level)
				continue
			}
			known[r.expr] = len(rules)
			rules = append(rules, r)
		}
	}
	return rules
})

// directives puts the lines of a file together that belong together.
func directives(text string) (all []string) {
	var whole strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		part, more := strings.CutSuffix(line, `\`)
		whole.WriteString(part)
		if !more {
			all = append(all, whole.String())
			whole.Reset()
		}
	}
	return all
}

// crsTexts returns the distinct texts of the requests of the rule set's regression tests:
// targets, field values and bodies, whole and as decoded parameters.
var crsTexts = sync.OnceValue(func() []string {
	type file struct {
		Tests []struct {
			Stages []struct {
				Input struct {
					URI     string
					Data    string
					Headers map[string]string
				}
			}
		}
	}
	all := make(map[string]bool)
	add := func(s string) {
		if len(s) <= 8<<10 {
			all[s] = true
		}
	}
	must(fs.WalkDir(tests.FS, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".yaml") {
			return err
		}
		text, err := fs.ReadFile(tests.FS, path)
		must(err)
		var f file
		if yaml.Unmarshal(text, &f) != nil {
			// A few tests have types of their own.
			return nil
		}
		for _, test := range f.Tests {
			for _, stage := range test.Stages {
				for _, value := range stage.Input.Headers {
					add(value)
				}
				for _, s := range []string{stage.Input.URI, stage.Input.Data} {
					add(s)
					for pair := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '?' || r == '&' }) {
						_, value, _ := strings.Cut(pair, "=")
						if value, err := url.QueryUnescape(value); err == nil {
							add(value)
							add(strings.ToLower(value))
						}
					}
				}
			}
		}
		return nil
	}))
	return slices.Sorted(maps.Keys(all))
})

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func TestCorpus(t *testing.T) {
	rules := crsRules()
	require.Greater(t, len(rules), 250)
	levels := make(map[byte]int)
	for _, r := range rules {
		levels[r.level]++
	}
	require.Greater(t, levels[1], 120)
	require.Greater(t, len(crsTexts()), 4000)
	require.True(t, slices.ContainsFunc(rules, func(r rule) bool { return r.bytes }))
}
