// Package glob matches texts against patterns that know one wildcard.
package glob

import "strings"

// Match reports whether s matches pattern, where "*" stands for any number of
// any characters. After a mismatch only the last star is tried again, one
// character further: an earlier one cannot help, since all before the last star
// is matched as early as possible. So the time is at most len(pattern)*len(s).
func Match(pattern, s string) bool {
	p, i := 0, 0
	star, mark := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
