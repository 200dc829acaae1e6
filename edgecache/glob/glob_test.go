package glob

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "a/b?c", true},
		{"a*", "a", true},
		{"a*b", "ab", true},
		{"a*b", "axxb", true},
		{"a*b", "axxbc", false},
		{"*.png", "/img/a.png", true},
		{"*.png", "/img/a.png?v=1", false},
		{"/a/*/c*", "/a/b/b/cd", true},
		{"a*b*c", "abbbcbc", true},
		{"**", "x", true},
		{"a", "*", false},
		{"*a", "*a", true},
	} {
		require.Equal(t, c.want, Match(c.pattern, c.s), "%q %q", c.pattern, c.s)
	}
}

func TestMatchIsNotExponential(t *testing.T) {
	require.False(t, Match(strings.Repeat("*a", 200)+"b", strings.Repeat("a", 4000)))
}

// FuzzMatch compares Match with the same pattern as a regular expression.
func FuzzMatch(f *testing.F) {
	f.Add("a*b", "axb")
	f.Add("*/*", "a/b/c")
	f.Add("**a", "bca")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 100 {
			return // too large a regular expression to compile
		}
		parts := strings.Split(pattern, "*")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		re, err := regexp.Compile(`(?s)\A` + strings.Join(parts, ".*") + `\z`)
		if err != nil || strings.ContainsRune(s, '\uFFFD') || strings.ToValidUTF8(s, "") != s {
			return // bytes that are not UTF-8 mean something else to a regular expression
		}
		require.Equal(t, re.MatchString(s), Match(pattern, s), "%q %q", pattern, s)
	})
}
