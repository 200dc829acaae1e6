package content

import (
	"bytes"
	"slices"
)

// maxDepth is how deep JSON may be nested to be mended. The engine refuses deeper ones.
const maxDepth = 2048

// mendJSON completes JSON that was cut. What is no JSON before its end is left as it is,
// and the reader will say so.
func mendJSON(data []byte) []byte {
	m := jsonMender{data: data}
	return m.mend()
}

// jsonMender follows JSON up to where it was cut, with the brackets that are open.
type jsonMender struct {
	data []byte
	open []byte // '{' and '['

	inString, escaped bool
	key               bool // the string is, or was, the name of a member
	// after is what the last complete token was.
	after jsonToken
	start int // of the string or word that is not complete
}

// jsonToken is a kind of token.
type jsonToken int

const (
	tokenNone  jsonToken = iota // nothing yet
	tokenOpen                   // { or [
	tokenComma                  // ,
	tokenColon                  // :
	tokenKey                    // the name of a member
	tokenValue                  // a value, or the end of one
)

func (m *jsonMender) mend() []byte {
	word := -1 // where a number or literal began
	for i := 0; i < len(m.data); i++ {
		c := m.data[i]
		if m.inString {
			switch {
			case m.escaped:
				m.escaped = false
			case c == '\\':
				m.escaped = true
			case c == '"':
				m.inString = false
				m.after = tokenValue
				if m.key {
					m.after = tokenKey
				}
			}
			continue
		}
		switch c {
		case ' ', '\t', '\r', '\n', ',', ':', '{', '}', '[', ']', '"':
			if word >= 0 {
				word, m.after = -1, tokenValue
			}
		}
		switch c {
		case ' ', '\t', '\r', '\n':
		case '"':
			m.inString, m.start = true, i
			m.key = m.inObject() && (m.after == tokenOpen || m.after == tokenComma)
		case '{', '[':
			if len(m.open) == maxDepth {
				return m.data
			}
			m.open = append(m.open, c)
			m.after = tokenOpen
		case '}', ']':
			if len(m.open) == 0 {
				return m.data
			}
			m.open = m.open[:len(m.open)-1]
			m.after = tokenValue
		case ',':
			m.after = tokenComma
		case ':':
			m.after = tokenColon
		default:
			if word < 0 {
				word = i
			}
		}
	}
	return m.complete(word)
}

func (m *jsonMender) inObject() bool { return len(m.open) > 0 && m.open[len(m.open)-1] == '{' }

// complete appends what is missing.
func (m *jsonMender) complete(word int) []byte {
	out := append([]byte(nil), m.data...)
	switch {
	case m.inString:
		out = append(trimEscape(out, m.start), '"')
		m.after = tokenValue
		if m.key {
			m.after = tokenKey
		}
	case word >= 0:
		// Half a number is another number, and half a literal none: 0 is harmless.
		out = append(out[:word], '0')
		m.after = tokenValue
	}
	switch m.after {
	case tokenKey:
		out = append(out, ":0"...)
	case tokenColon:
		out = append(out, '0')
	case tokenComma:
		out = out[:bytes.LastIndexByte(out, ',')]
	case tokenNone, tokenOpen, tokenValue:
	}
	for _, bracket := range slices.Backward(m.open) {
		out = append(out, bracket+2) // '{'+2 is '}', '['+2 is ']'
	}
	return out
}

// trimEscape takes away an escape, or a character, at the end of a string that is not
// complete.
func trimEscape(data []byte, start int) []byte {
	for n := 1; n <= 6 && len(data)-n > start; n++ {
		if data[len(data)-n] != '\\' {
			continue
		}
		// Whether this one begins an escape depends on how many are in front of it.
		first := len(data) - n
		for first > start+1 && data[first-1] == '\\' {
			first--
		}
		if (len(data)-n-first)%2 == 1 {
			break
		}
		if rest := data[len(data)-n:]; len(rest) < 2 || rest[1] == 'u' && len(rest) < 6 {
			return data[:len(data)-n]
		}
		break
	}
	return mendText(data)
}
