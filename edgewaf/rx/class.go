package rx

import (
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

// classes divide the runes into classes that no instruction tells apart. A state has one
// transition for each, and one more for the end of the text.
type classes struct {
	// ofByte has the class of each byte that is a character, and wide for the others,
	// which are in runes of several bytes or in none.
	ofByte [256]uint16
	// first are the first runes of intervals, in order, and class their classes.
	first []rune
	class []uint16
	// example is a rune of each class.
	example []rune
	kind    []kind
	n       int
}

const wide = 0xFFFF

// kind is what assertions ask of the character at one side.
type kind uint8

const (
	// kindEdge is no character: the beginning or end of the text.
	kindEdge kind = iota
	kindOther
	kindWord
	kindNewline
	kinds
)

// sample is one rune of each kind, for syntax.EmptyOpContext.
var sample = [kinds]rune{-1, ' ', 'a', '\n'}

func kindOf(r rune) kind {
	switch {
	case r < 0:
		return kindEdge
	case r == '\n':
		return kindNewline
	case syntax.IsWordChar(r):
		return kindWord
	}
	return kindOther
}

// divide finds the classes for some sets of runes. It reports whether there are few enough.
func (c *classes) divide(sets [][]rune, conditions syntax.EmptyOp, last rune, bytes bool) bool {
	// Kinds that no assertion asks about need no classes of their own.
	if conditions&(syntax.EmptyWordBoundary|syntax.EmptyNoWordBoundary) != 0 {
		sets = append(slices.Clip(sets), []rune{'0', '9', 'A', 'Z', '_', '_', 'a', 'z'})
	}
	if conditions&(syntax.EmptyBeginLine|syntax.EmptyEndLine) != 0 {
		sets = append(slices.Clip(sets), []rune{'\n', '\n'})
	}
	c.first = []rune{0}
	for _, set := range sets {
		for i := 0; i < len(set); i += 2 {
			c.first = append(c.first, set[i])
			if set[i+1] < last {
				c.first = append(c.first, set[i+1]+1)
			}
		}
	}
	slices.Sort(c.first)
	c.first = slices.Compact(c.first)
	c.class = make([]uint16, len(c.first))
	c.n = 1
	for _, set := range sets {
		c.split(set)
		if c.n > maxClasses {
			return false
		}
	}
	c.example = make([]rune, c.n)
	c.kind = make([]kind, c.n+1)
	for i, class := range c.class {
		c.example[class] = c.first[i]
		c.kind[class] = kindOf(c.first[i])
	}
	c.kind[c.n] = kindEdge
	for b := range c.ofByte {
		if bytes || b < utf8.RuneSelf {
			c.ofByte[b] = c.of(rune(b))
		} else {
			c.ofByte[b] = wide
		}
	}
	return true
}

// split divides each class into what is in a set and what is not.
func (c *classes) split(set []rune) {
	type half struct {
		class uint16
		in    bool
	}
	halves := make(map[half]uint16)
	next := 0
	for i, r := range c.first {
		for next < len(set) && set[next+1] < r {
			next += 2
		}
		h := half{c.class[i], next < len(set) && set[next] <= r}
		class, known := halves[h]
		if !known {
			class = uint16(len(halves))
			halves[h] = class
		}
		c.class[i] = class
	}
	c.n = len(halves)
}

// of returns the class of a rune.
func (c *classes) of(r rune) uint16 {
	lo, hi := 0, len(c.first)
	for hi-lo > 1 {
		if mid := int(uint(lo+hi) >> 1); c.first[mid] <= r {
			lo = mid
		} else {
			hi = mid
		}
	}
	return c.class[lo]
}

// ofRune returns the class of the rune at the start of a text that is not empty, and its
// width. What is not UTF-8 is U+FFFD with a width of 1, as it is to package regexp.
func (c *classes) ofRune(s string) (class uint32, width int) {
	r, width := utf8.DecodeRuneInString(s)
	return uint32(c.of(r)), width
}
