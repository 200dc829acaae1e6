// Package rx matches regular expressions as Go's regexp does, and those over bytes as
// rsc.io/binaryregexp does, several times as fast.
//
// Whether a text matches is decided by a deterministic automaton, whose states are made
// when a text first needs them. The regular expression itself runs only to say where the
// groups of a match are, and where the automaton would take too much memory.
//
// It is meant for many expressions, most of which match nothing, over text from anyone:
// the time is linear in the text, the memory bounded, and a warm automaton matches without
// a lock or an allocation.
package rx

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"sync"
	"sync/atomic"

	"rsc.io/binaryregexp"
	binary "rsc.io/binaryregexp/syntax"
)

// MaxBytes bounds what the states of one automaton take. It may be twice that for the
// moments in which a match still reads a table that was replaced. An expression of
// the Core Rule Set takes a few KiB under normal traffic; all of its 300 to 400 at the
// bound, which takes an attack on each, are 50 MiB.
const MaxBytes = 128 << 10

// Regexp is a compiled expression. It may be used from any goroutine.
type Regexp struct {
	expr   string
	groups groups
	// minLen is the length in bytes of the shortest text that matches.
	minLen int
	needed needed
	// program is nil when there is no automaton and everything is left to groups.
	program *program
	idle    idle
	limit   int
	table   atomic.Pointer[table]

	// mu guards all that makes states.
	mu      sync.Mutex
	builder *builder
	stats   Stats
}

// groups is the part of a regular expression that both packages have.
type groups interface {
	MatchString(s string) bool
	FindStringSubmatchIndex(s string) []int
}

// Compile compiles an expression over UTF-8, with the syntax of package regexp. An error
// is that of regexp.Compile, with the expression in front.
func Compile(expr string) (*Regexp, error) { return compile(expr, false, MaxBytes) }

// CompileBinary compiles an expression over bytes, with the syntax of rsc.io/binaryregexp:
// "\xff" and "." are one byte each. An error is that of binaryregexp.Compile, with the
// expression in front.
func CompileBinary(expr string) (*Regexp, error) { return compile(expr, true, MaxBytes) }

func compile(expr string, bytes bool, limit int) (*Regexp, error) {
	parse := parseText
	if bytes {
		parse = parseBinary
	}
	groups, tree, code, err := parse(expr)
	if err != nil {
		return nil, fmt.Errorf("compiling regular expression %q: %w", expr, err)
	}
	re := &Regexp{expr: expr, groups: groups, limit: limit, minLen: minLength(tree, bytes), needed: findNeeded(tree)}
	if re.program = newProgram(code, bytes); re.program != nil {
		re.build()
	}
	return re, nil
}

func parseText(expr string) (groups, *syntax.Regexp, *syntax.Prog, error) {
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, nil, nil, err
	}
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, nil, nil, err
	}
	tree = tree.Simplify()
	code, err := syntax.Compile(tree)
	return re, tree, code, err
}

func parseBinary(expr string) (groups, *syntax.Regexp, *syntax.Prog, error) {
	re, err := binaryregexp.Compile(expr)
	if err != nil {
		return nil, nil, nil, err
	}
	tree, err := binary.Parse(expr, binary.Perl)
	if err != nil {
		return nil, nil, nil, err
	}
	tree = tree.Simplify()
	code, err := binary.Compile(tree)
	if err != nil {
		return nil, nil, nil, err
	}
	return re, fromBinaryTree(tree), fromBinaryProg(code), nil
}

// String returns the expression as it was given.
func (re *Regexp) String() string { return re.expr }

// Match reports whether the text has a match anywhere.
func (re *Regexp) Match(s string) bool {
	if len(s) < re.minLen || !re.needed.mayBeIn(s) {
		return false
	}
	if re.program != nil {
		if matched, sure := re.search(s); sure {
			return matched
		}
	}
	return re.groups.MatchString(s)
}

// Captures reports whether the text has a match, and calls f with the text of the whole
// leftmost match as group 0 and of each group after it, in order, at most limit of them.
// A group that took no part is "". The texts are parts of s.
func (re *Regexp) Captures(s string, limit int, f func(i int, text string)) bool {
	if !re.Match(s) {
		return false
	}
	found := re.groups.FindStringSubmatchIndex(s)
	for i := range min(len(found)/2, limit) {
		text := ""
		if from := found[2*i]; from >= 0 {
			text = s[from:found[2*i+1]]
		}
		f(i, text)
	}
	return found != nil
}

// Stats are about the automaton of an expression.
type Stats struct {
	// States is how many there are, and Bytes what they take.
	States, Bytes int
	// Flushes is how often all states were dropped since there was no more room.
	Flushes int
	// Fallbacks is how many texts were left to the regular expression since too many
	// of its states had to be made for too little text.
	Fallbacks int
}

// Stats returns numbers of the moment. It waits for states that are being made.
func (re *Regexp) Stats() Stats {
	re.mu.Lock()
	defer re.mu.Unlock()
	s := re.stats
	if t := re.table.Load(); t != nil {
		s.States, s.Bytes = len(t.states.keys), t.states.bytes
	}
	return s
}
