package rx

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// needed are strings of which every text that matches has one, whatever the case of its
// letters. None says nothing.
type needed []literal

// literal is a string in lower case.
type literal struct {
	text string
	// at is where its rarest byte is, which is looked for, in both cases.
	at           int
	lower, upper byte
}

const (
	// Few and rare bytes can be looked for much faster than an automaton reads.
	maxNeeded      = 3
	rareNeeded     = 45
	maxExact       = 16
	maxExactLength = 32
	// shortText is better left to the automaton at once.
	shortText = 12
)

// findNeeded returns the best that is known, which may be nothing.
func findNeeded(re *syntax.Regexp) needed {
	exact, some := analyse(re)
	best := better(exact, some)
	if cost(best) > rareNeeded {
		return nil
	}
	var n needed
	for _, text := range best {
		l := literal{text: text}
		for i := range len(text) {
			if rarity(text[i]) < rarity(text[l.at]) {
				l.at = i
			}
		}
		l.lower, l.upper = text[l.at], upper(text[l.at])
		n = append(n, l)
	}
	return n
}

// mayBeIn reports false when none of the strings is in the text.
func (n needed) mayBeIn(s string) bool {
	if len(n) == 0 || len(s) < shortText {
		return true
	}
	for i := range n {
		if n[i].mayBeIn(s) {
			return true
		}
	}
	return false
}

func (l *literal) mayBeIn(s string) bool {
	if l.find(s, l.lower) {
		return true
	}
	return l.upper != l.lower && l.find(s, l.upper)
}

// find looks for the literal at each place that has a byte where its rarest is. It gives up
// and reports true when there are so many places that the automaton would be faster.
func (l *literal) find(s string, rarest byte) bool {
	behind := len(l.text) - l.at
	for i, credit := l.at, 4; i+behind <= len(s); i++ {
		next := strings.IndexByte(s[i:len(s)-behind+1], rarest)
		if next < 0 {
			return false
		}
		i += next
		if equalLower(s[i-l.at:i+behind], l.text) {
			return true
		}
		if credit += next/16 - 1; credit < 0 {
			return true
		}
	}
	return false
}

func equalLower(s, lower string) bool {
	for i := range len(s) {
		if toLower(s[i]) != lower[i] {
			return false
		}
	}
	return true
}

func toLower(b byte) byte {
	if b >= 'A' && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

func upper(b byte) byte {
	if b >= 'a' && b <= 'z' {
		return b - 'a' + 'A'
	}
	return b
}

// rarity is how common a letter is in both cases.
func rarity(b byte) int {
	if u := upper(b); u != b {
		return commonness(b) + commonness(u)
	}
	return commonness(b)
}

// analyse returns all that can match an expression, in lower case, if that is a few
// strings of ASCII; and else strings of which every match has one, if any are known.
func analyse(re *syntax.Regexp) (exact, some []string) {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return []string{""}, nil
	case syntax.OpLiteral:
		var c concatenation
		for _, r := range re.Rune {
			c.add(letter(r, re.Flags&syntax.FoldCase != 0), nil)
		}
		return c.result()
	case syntax.OpCharClass:
		return class(re.Rune), nil
	case syntax.OpCapture:
		return analyse(re.Sub[0])
	case syntax.OpConcat:
		var c concatenation
		for _, sub := range re.Sub {
			c.add(analyse(sub))
		}
		return c.result()
	case syntax.OpAlternate:
		return alternatives(re.Sub)
	case syntax.OpPlus:
		return nil, better(analyse(re.Sub[0]))
	case syntax.OpRepeat:
		if re.Min > 0 {
			return nil, better(analyse(re.Sub[0]))
		}
	case syntax.OpQuest:
		if exact, _ = analyse(re.Sub[0]); exact != nil && len(exact) < maxExact {
			return union(exact, []string{""}), nil
		}
	default:
	}
	return nil, nil
}

// letter returns a rune of a literal. Outside of ASCII nothing is known: runes have case
// in ways of their own there, and what is not UTF-8 is U+FFFD.
func letter(r rune, fold bool) []string {
	if r >= utf8.RuneSelf || fold && slices.Max(orbit(r)) >= utf8.RuneSelf {
		return nil
	}
	return []string{string(toLower(byte(r)))}
}

// class returns what a class of few runes may be.
func class(ranges []rune) (exact []string) {
	for i := 0; i < len(ranges); i += 2 {
		if ranges[i+1] >= utf8.RuneSelf || ranges[i+1]-ranges[i] >= maxExact {
			return nil
		}
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			exact = union(exact, []string{string(toLower(byte(r)))})
		}
		if len(exact) > maxExact {
			return nil
		}
	}
	return exact
}

func alternatives(subs []*syntax.Regexp) (exact, some []string) {
	allExact, allSome := true, true
	for _, sub := range subs {
		e, s := analyse(sub)
		if b := better(e, s); b == nil {
			allSome = false
		} else {
			some = union(some, b)
		}
		if e == nil {
			allExact = false
		} else {
			exact = union(exact, e)
		}
		if len(exact) > maxExact {
			allExact = false
		}
		if len(some) > maxExact {
			allSome = false
		}
		if !allExact && !allSome {
			return nil, nil
		}
	}
	if !allSome {
		some = nil
	}
	if !allExact {
		exact = nil
	}
	return exact, some
}

// concatenation puts parts together that follow one another.
type concatenation struct {
	// run is what the last parts can be, all of which are exact.
	run []string
	// broken says that there are parts before them.
	broken bool
	some   []string
}

func (c *concatenation) add(exact, some []string) {
	if exact == nil {
		c.some = better(c.some, better(c.run, some))
		c.run, c.broken = nil, true
		return
	}
	if c.run == nil {
		c.run = exact
		return
	}
	if len(c.run)*len(exact) > maxExact || longest(c.run)+longest(exact) > maxExactLength {
		c.some = better(c.some, c.run)
		c.run, c.broken = exact, true
		return
	}
	var longer []string
	for _, head := range c.run {
		for _, tail := range exact {
			longer = append(longer, head+tail)
		}
	}
	c.run = union(nil, longer)
}

func (c *concatenation) result() (exact, some []string) {
	if !c.broken && c.run != nil {
		return c.run, nil
	}
	return nil, better(c.some, c.run)
}

func longest(list []string) (n int) {
	for _, s := range list {
		n = max(n, len(s))
	}
	return n
}

func union(a, b []string) []string {
	all := append(slices.Clip(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

// better returns the one of two lists that rules out more. Nothing is better than a list
// that can't be looked for.
func better(a, b []string) []string {
	costA, costB := cost(a), cost(b)
	switch {
	case costA > 1000 && costB > 1000:
		return nil
	case costA < costB || costA == costB && shortest(a) >= shortest(b):
		return a
	}
	return b
}

func shortest(list []string) int {
	n := maxExactLength + 1
	for _, s := range list {
		n = min(n, len(s))
	}
	return n
}

// cost is how common the bytes are that are looked for, and more than 1000 for what can't be.
func cost(list []string) (total int) {
	if len(list) == 0 || len(list) > maxNeeded {
		return 1001
	}
	for _, s := range list {
		if s == "" {
			return 1001
		}
		least := 1000
		for i := range len(s) {
			least = min(least, rarity(s[i]))
		}
		total += least
	}
	return total
}

// minLength returns the length in bytes of the shortest text that an expression matches.
func minLength(re *syntax.Regexp, bytes bool) (n int) {
	width := func(r rune) int {
		if bytes || r < utf8.RuneSelf || r == utf8.RuneError {
			return 1
		}
		return utf8.RuneLen(r)
	}
	switch re.Op {
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL, syntax.OpCharClass:
		return 1
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			least := width(r)
			if re.Flags&syntax.FoldCase != 0 {
				for _, other := range orbit(r) {
					least = min(least, width(other))
				}
			}
			n += max(least, 1)
		}
	case syntax.OpCapture, syntax.OpPlus:
		return minLength(re.Sub[0], bytes)
	case syntax.OpRepeat:
		return re.Min * minLength(re.Sub[0], bytes)
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			n += minLength(sub, bytes)
		}
	case syntax.OpAlternate:
		n = minLength(re.Sub[0], bytes)
		for _, sub := range re.Sub[1:] {
			n = min(n, minLength(sub, bytes))
		}
	default:
	}
	return n
}
