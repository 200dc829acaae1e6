package rules

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"

	"github.com/caddyedge/caddy-edge/edgewaf/rx"
)

// Bounds of patterns. A unit of weight is about an instruction of the compiled pattern,
// some 40 bytes; so the patterns of a pack take some 20 MiB at most, and a repetition of
// repetitions can't be used to exhaust memory.
const (
	maxPattern       = 8 << 10  // bytes of one
	maxPatternWeight = 16 << 10 // of one
	maxPackWeight    = 1 << 19  // of all patterns of a pack
)

// pattern is a regular expression. It is the one place that knows which engine there
// is.
type pattern struct {
	// fast decides whether there is a match, re where it is.
	fast *rx.Regexp
	re   *regexp.Regexp
	// anchored: it looks at where the text begins and ends, so that it has to be tried
	// on the parts of a text too. What another pattern finds in a part it finds in the
	// whole.
	anchored bool
}

// newPattern compiles a pattern, and returns how much it weighs.
func newPattern(expr string) (*pattern, int, error) {
	if len(expr) > maxPattern {
		return nil, 0, fmt.Errorf("%d bytes are more than %d", len(expr), maxPattern)
	}
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, 0, err
	}
	weight := weigh(tree)
	if weight > maxPatternWeight {
		return nil, 0, fmt.Errorf("the pattern is too large when its repetitions are written out")
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, 0, err
	}
	fast, err := rx.Compile(expr)
	if err != nil {
		return nil, 0, err
	}
	return &pattern{fast, re, anchored(tree)}, weight, nil
}

// match reports whether the pattern is found in a text.
func (p *pattern) match(text string) bool { return p.fast.Match(text) }

// find returns where the pattern is first found in a text that it matches.
func (p *pattern) find(text string) (start, end int) {
	if at := p.re.FindStringIndex(text); at != nil {
		return at[0], at[1]
	}
	return 0, 0
}

// weigh estimates how large a pattern gets when it is compiled. The result is cut off
// above the bound.
func weigh(re *syntax.Regexp) int {
	const runesPerUnit = 10
	weight := 1
	switch re.Op { //nolint:exhaustive // the others are an instruction or none
	case syntax.OpLiteral:
		weight = len(re.Rune)
	case syntax.OpCharClass:
		weight += len(re.Rune) / runesPerUnit
	case syntax.OpRepeat:
		return min(weigh(re.Sub[0])*(max(re.Min, re.Max)+1), maxPatternWeight+1)
	}
	for _, sub := range re.Sub {
		weight = min(weight+weigh(sub), maxPatternWeight+1)
	}
	return weight
}

// anchored reports whether a match can depend on what is around it, beyond the
// difference between a letter and none: text behind a separator begins a word as text
// at the beginning does.
func anchored(re *syntax.Regexp) bool {
	switch re.Op { //nolint:exhaustive // the others look at no position
	case syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpNoWordBoundary:
		return true
	}
	return slices.ContainsFunc(re.Sub, anchored)
}
