package target

import "strings"

// Query returns the normal form of a query as it is sent, and what is wrong with it.
// Unreserved characters are not escaped and escapes have digits in upper case; the
// order and number of parameters, and all other characters, stay. A query with an
// invalid escape stays as it is, since servers read it in several ways.
func Query(raw string) (normal string, faults Fault) {
	if !strings.Contains(raw, "%") {
		return raw, 0
	}
	changed := false
	for i := 0; i < len(raw); i++ {
		if raw[i] != '%' {
			continue
		}
		c, ok := unescape(raw, i)
		switch {
		case !ok:
			faults |= QueryEncoding
			continue
		case c == 0:
			faults |= QueryNUL
		}
		changed = changed || class[c]&unreserved != 0 || raw[i+1] >= 'a' || raw[i+2] >= 'a'
	}
	if !changed || faults.Has(QueryEncoding) {
		return raw, faults
	}
	var b strings.Builder
	b.Grow(len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c != '%' {
			b.WriteByte(c)
			continue
		}
		if c, _ = unescape(raw, i); class[c]&unreserved != 0 {
			b.WriteByte(c)
		} else {
			escape(&b, c)
		}
		i += 2
	}
	return b.String(), faults
}
