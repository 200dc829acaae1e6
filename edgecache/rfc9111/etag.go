package rfc9111

import "strings"

// entityTag is a parsed entity tag (RFC 9110 section 8.8.3).
type entityTag struct {
	opaque string
	weak   bool
}

// parseETag parses one entity tag; ok is false when s is anything else.
func parseETag(s string) (tag entityTag, ok bool) {
	tag, rest, ok := nextETag(s)
	return tag, ok && strings.Trim(rest, " \t") == ""
}

// nextETag takes the entity tag at the beginning of s.
func nextETag(s string) (tag entityTag, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t")
	s, tag.weak = strings.CutPrefix(s, "W/")
	if !strings.HasPrefix(s, `"`) {
		return entityTag{}, s, false
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			tag.opaque = s[1:i]
			return tag, s[i+1:], true
		case c <= ' ' || c == 0x7f:
			return entityTag{}, s, false
		}
	}
	return entityTag{}, s, false
}

// ETagWeakMatch is the weak comparison of two entity tags (RFC 9110 section
// 8.8.3.2): the opaque parts are equal. A malformed tag never matches.
func ETagWeakMatch(a, b string) bool {
	x, ok1 := parseETag(a)
	y, ok2 := parseETag(b)
	return ok1 && ok2 && x.opaque == y.opaque
}

// ETagStrongMatch is the strong comparison of two entity tags: equal and neither
// weak. A malformed tag never matches.
func ETagStrongMatch(a, b string) bool {
	x, ok1 := parseETag(a)
	y, ok2 := parseETag(b)
	return ok1 && ok2 && x == y && !x.weak
}

// listMatches says that the lines of If-Match or If-None-Match are "*" or have a
// tag that compares equal to the stored one. Malformed members are skipped.
func listMatches(lines []string, stored string, strong bool) bool {
	for _, line := range lines {
		if strings.Trim(line, " \t") == "*" {
			return true
		}
	}
	own, ok := parseETag(stored)
	if !ok || (strong && own.weak) {
		return false
	}
	for _, line := range lines {
		for line != "" {
			tag, rest, ok := nextETag(line)
			tail, next, _ := strings.Cut(rest, ",")
			// What stands between the tag and the comma makes it malformed.
			ok = ok && strings.Trim(tail, " \t") == ""
			if ok && tag.opaque == own.opaque && (!strong || !tag.weak) {
				return true
			}
			line = next
		}
	}
	return false
}
