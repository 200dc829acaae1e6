package target

import "strings"

// Query returns the normal form of a query as it is sent, and what is wrong with it.
// What no request line and no field can carry in one piece (spaces, control characters,
// bytes above 127), "#" and what HTML would take for its own (quotes, "<", ">") is
// escaped. Unreserved characters are not, and escapes have digits in upper case; the
// order and number of parameters, and all other characters, stay. The escapes of a query
// with an invalid one stay as they are, since servers read it in several ways.
//
// The normal form of a normal form is itself, with the same faults.
func Query(raw string) (normal string, faults Fault) {
	respell, unfit := false, false
	for i := range len(raw) {
		c := raw[i]
		if c != '%' {
			if class[c]&notInQuery != 0 {
				unfit = true
				if c == 0 {
					faults |= QueryNUL
				}
			}
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
		respell = respell || class[c]&unreserved != 0 || raw[i+1] >= 'a' || raw[i+2] >= 'a'
	}
	respell = respell && !faults.Has(QueryEncoding)
	if !respell && !unfit {
		return raw, faults
	}
	var b strings.Builder
	b.Grow(len(raw) + 8)
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case class[c]&notInQuery != 0:
			escape(&b, c)
			continue
		case c != '%' || !respell:
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
