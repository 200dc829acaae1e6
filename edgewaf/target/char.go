package target

import "strings"

const (
	unreserved = 1 << iota // RFC 3986 section 2.3
	inPath                 // may be in a path as it is (RFC 3986 section 3.3)
	dangerous              // has a meaning to who decodes it once more
	notInQuery             // must be escaped in a query
)

// class says what a character is. Brackets are in paths too, as net/url has them.
var class = func() (all [256]byte) {
	for c := range 256 {
		switch c := byte(c); {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~", c) >= 0:
			all[c] = unreserved | inPath
		case c == '/':
			all[c] = inPath | dangerous
		case c == '\\', c < ' ', c == 0x7f:
			all[c] = dangerous
		case strings.IndexByte("!$&'()*+,;=:@[]", c) >= 0:
			all[c] = inPath
		}
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"#<>", byte(c)) >= 0 {
			all[c] |= notInQuery
		}
	}
	return all
}()

// unescape returns what the escape at i stands for.
func unescape(s string, i int) (c byte, ok bool) {
	if s[i] != '%' || i+2 >= len(s) {
		return 0, false
	}
	high, low := digit(s[i+1]), digit(s[i+2])
	return high<<4 | low, high < 16 && low < 16
}

// digit returns the value of a hexadecimal digit, or 255.
func digit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

func escape(b *strings.Builder, c byte) {
	const digits = "0123456789ABCDEF"
	b.WriteByte('%')
	b.WriteByte(digits[c>>4])
	b.WriteByte(digits[c&15])
}
