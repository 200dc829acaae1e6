package rx

import (
	"regexp/syntax"
	"testing"

	"github.com/stretchr/testify/require"
	binsyntax "rsc.io/binaryregexp/syntax"
)

// TestSameNumbers: conversions rely on the numbers of both packages being the same.
func TestSameNumbers(t *testing.T) {
	for op := syntax.InstAlt; op <= syntax.InstRuneAnyNotNL; op++ {
		require.Equal(t, op.String(), binsyntax.InstOp(op).String())
	}
	for op := syntax.OpNoMatch; op <= syntax.OpAlternate; op++ {
		require.Equal(t, op.String(), binsyntax.Op(op).String())
	}
	for text, bytes := range map[syntax.EmptyOp]binsyntax.EmptyOp{
		syntax.EmptyBeginLine: binsyntax.EmptyBeginLine, syntax.EmptyEndLine: binsyntax.EmptyEndLine,
		syntax.EmptyBeginText: binsyntax.EmptyBeginText, syntax.EmptyEndText: binsyntax.EmptyEndText,
		syntax.EmptyWordBoundary: binsyntax.EmptyWordBoundary, syntax.EmptyNoWordBoundary: binsyntax.EmptyNoWordBoundary,
	} {
		require.EqualValues(t, text, bytes)
	}
	require.EqualValues(t, syntax.FoldCase, binsyntax.FoldCase)
}

func TestClasses(t *testing.T) {
	for _, test := range []struct {
		expr  string
		bytes bool
		n     int
	}{
		{``, false, 1},
		{`a`, false, 2},
		{`[a-z]`, false, 2},
		{`[a-z]x`, false, 3},
		{`(?i)k`, false, 2},
		{`(?i)k`, true, 2},
		{`(?m)^a`, false, 3},
		{`\ba`, false, 3},
		{`[^a]b`, false, 3},
		{`\p{L}\p{L}\p{L}`, false, 2},
		{`\x{100}`, true, 1},
	} {
		re, err := compile(test.expr, test.bytes, MaxBytes)
		require.NoError(t, err)
		require.Equal(t, test.n, re.program.classes.n, test.expr)
	}
}

func TestNeeded(t *testing.T) {
	for expr, want := range map[string][]string{
		`abcxdef`:                {"abcxdef"},
		`(?i)<Body`:              {"<body"},
		`(?i)kiss=me`:            {"=me"}, // k and s have other forms outside of ASCII
		`a+<b`:                   {"<b"},
		`(?:<a|<b)c`:             {"<ac", "<bc"},
		`(?:<a|b*)c`:             {"c"},
		`(?:<a|b*)e`:             nil,
		`x?<`:                    {"<", "x<"},
		`[<>]z`:                  {"<z", ">z"},
		`e|t`:                    nil,
		`(?:foo\()+`:             {"foo("},
		`(?:foo\()*`:             nil,
		`foo\b\(`:                {"foo("},
		"\uFFFD<":                {"<"},
		`é`:                      nil,
		`(?:<|=|>|;)`:            nil,
		`(?:sq|mq)lite_\w+\.`:    {"mqlite_", "sqlite_"},
		`[a-z]{3}\[[0-9]+\]-`:    {"]-"},
		`(?:\$\{|<%).*?(?:\}|%)`: {"${", "<%"},
	} {
		re, err := Compile(expr)
		require.NoError(t, err)
		var got []string
		for _, l := range re.needed {
			got = append(got, l.text)
		}
		require.Equal(t, want, got, expr)
	}
}

func TestMinLength(t *testing.T) {
	for expr, want := range map[string][2]int{
		``: {0, 0}, `a`: {1, 1}, `a|bc`: {1, 1}, `a{3}b*`: {3, 3}, `é`: {2, 1}, `(?i)k`: {1, 1}, "(?i)\u212A": {1, 1},
		"\uFFFD": {1, 1}, `[é]`: {2, 1}, `[éa]`: {1, 1}, `.+`: {1, 1}, `(?:ab){2,}`: {4, 4}, `^a$`: {1, 1}, `(?:a|)b`: {1, 1}, `😀`: {4, 1},
	} {
		for i, bytes := range []bool{false, true} {
			re, err := compile(expr, bytes, MaxBytes)
			require.NoError(t, err)
			require.Equal(t, want[i], re.minLen, "%q %v", expr, bytes)
		}
	}
}

// TestIdle shows where text is skipped, and by what.
func TestIdle(t *testing.T) {
	for expr, stops := range map[string]string{
		`<a`:         "<",
		`(?m)^foo`:   "\n",
		`\b<`:        "<",
		`(?i)[<>]a`:  "<>",
		`(?i)x1`:     "Xx",
		`(?i)kx`:     "Kk\xe2",
		`[^a]b`:      "",
		"\uFFFD":     "",
		`[a-y]`:      "",
		"[\u20ac]<":  "\xe2",
		`(?:a|b*)\d`: "",
	} {
		re, err := Compile(expr)
		require.NoError(t, err)
		require.Equal(t, stops, string(re.idle.stops), expr)
	}
}
