package crs

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// overBytes reports whether Coraza takes an expression to be over bytes instead of UTF-8:
// when what its escapes like \xff stand for is not valid UTF-8. It follows
// matchesArbitraryBytes in Coraza's internal/operators/rx.go step by step, oddities and
// all: an escaped backslash is not skipped, and an escape near the end is not decoded.
func overBytes(expr string) bool {
	decoded := make([]byte, 0, len(expr))
	for i := 0; i < len(expr); i++ {
		if expr[i] != '\\' {
			decoded = append(decoded, expr[i])
			continue
		}
		if i+3 >= len(expr) {
			decoded = append(decoded, expr[i:]...)
			break
		}
		value, length, ok := byteEscape(expr[i:])
		if !ok {
			value, length = expr[i], 1
		}
		decoded = append(decoded, value)
		i += length - 1
	}
	return !utf8.Valid(decoded)
}

// byteEscape decodes \xff or \x{ff} at the start of a text of four bytes or more.
func byteEscape(s string) (value byte, length int, ok bool) {
	if s[1] != 'x' {
		return 0, 0, false
	}
	length = len(`\xff`)
	if len(s) >= len(`\x{ff}`) && s[2] == '{' {
		if end := strings.IndexByte(s, '}'); end >= 0 {
			s, length = `\x`+s[3:end], end+1
		}
	}
	v, multibyte, _, err := strconv.UnquoteChar(s, 0)
	if err != nil || multibyte {
		return 0, 0, false
	}
	return byte(v), length, true
}
