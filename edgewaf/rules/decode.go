package rules

import "strings"

// unescape appends text to b with its escapes decoded (RFC 3986 section 2.1), and with
// plus also "+" as a space (as forms have it). What is no escape stays as it is. It
// reports whether there was anything to decode; if not, b is returned as it was.
func unescape(b []byte, text string, plus bool) ([]byte, bool) {
	if strings.IndexByte(text, '%') < 0 && (!plus || strings.IndexByte(text, '+') < 0) {
		return b, false
	}
	start, changed := len(b), false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '+' && plus:
			c, changed = ' ', true
		case c == '%' && i+2 < len(text) && isHex(text[i+1]) && isHex(text[i+2]):
			c, changed = unhex(text[i+1])<<4|unhex(text[i+2]), true
			i += 2
		}
		b = append(b, c)
	}
	if !changed {
		return b[:start], false
	}
	return b, true
}

// unescapeJSON appends text to b with the escapes of JSON strings (RFC 8259 section 7)
// decoded, wherever they are. Halves of characters beyond the first 65536 stay halves:
// no pattern looks for them.
func unescapeJSON(b []byte, text string) ([]byte, bool) {
	if strings.IndexByte(text, '\\') < 0 {
		return b, false
	}
	start, changed := len(b), false
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '\\' || i+1 == len(text) {
			b = append(b, c)
			continue
		}
		switch next := text[i+1]; next {
		case '"', '\\', '/':
			c = next
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			if r, ok := hex4(text[i+2:]); ok {
				b = append(b, string(r)...)
				changed = true
				i += 5
				continue
			}
			b = append(b, c)
			continue
		default:
			b = append(b, c)
			continue
		}
		b = append(b, c)
		changed = true
		i++
	}
	if !changed {
		return b[:start], false
	}
	return b, true
}

// hex4 reads four hexadecimal digits.
func hex4(text string) (r rune, ok bool) {
	if len(text) < 4 {
		return 0, false
	}
	for i := range 4 {
		if !isHex(text[i]) {
			return 0, false
		}
		r = r<<4 | rune(unhex(text[i]))
	}
	return r, true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// containsFold reports whether text contains word, whatever the case of ASCII letters.
func containsFold(text, word string) bool {
	for i := 0; i+len(word) <= len(text); i++ {
		if strings.EqualFold(text[i:i+len(word)], word) {
			return true
		}
	}
	return false
}
