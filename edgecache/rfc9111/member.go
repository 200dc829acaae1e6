package rfc9111

import (
	"strings"
	"time"
)

// member is one element of a comma-separated list of directives:
// token [ "=" ( token / quoted-string ) ].
type member struct {
	name string
	// arg is the argument without quotes.
	arg    string
	hasArg bool
	// malformed says that the grammar is violated; name is still what stands
	// before the "=", so that a restricting directive is not overlooked.
	malformed bool
}

// nextMember returns the first member of the list and what follows its comma.
// Empty members have an empty name.
func nextMember(list string) (m member, rest string) {
	list = strings.TrimLeft(list, " \t")
	end := 0
	for end < len(list) && list[end] != '=' && list[end] != ',' {
		end++
	}
	name := list[:end]
	m.name = strings.TrimRight(name, " \t")
	if end == len(list) || list[end] == ',' {
		m.malformed = m.name != "" && !isToken(m.name)
		return m, list[min(end+1, len(list)):]
	}
	// A space before "=" is an error; the trimmed name is looked at all the same.
	m.malformed = m.name != name || !isToken(m.name)
	m.hasArg = true
	list = list[end+1:]
	if strings.HasPrefix(list, `"`) {
		if arg, after, ok := unquote(list); ok {
			tail, rest, _ := strings.Cut(after, ",")
			m.arg = arg
			m.malformed = m.malformed || strings.Trim(tail, " \t") != ""
			return m, rest
		}
		// Without a closing quote the quote is taken for an ordinary character,
		// so that it cannot hide the directives behind it.
		m.malformed = true
	}
	arg, rest, _ := strings.Cut(list, ",")
	m.arg = strings.TrimRight(arg, " \t")
	m.malformed = m.malformed || !isToken(m.arg)
	return m, rest
}

// bare says that the member is a well-formed directive without argument.
func (m member) bare() bool { return !m.hasArg && !m.malformed }

// delta returns the argument as delta-seconds (RFC 9111 section 1.2.2), at most
// MaxDelta. The quoted form is accepted.
func (m member) delta() (time.Duration, bool) {
	if !m.hasArg || m.malformed {
		return 0, false
	}
	return parseDelta(m.arg)
}

// parseDelta parses 1*DIGIT of any length.
func parseDelta(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	const limit = int64(MaxDelta / time.Second)
	n := int64(0)
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+int64(c-'0'), limit)
	}
	return time.Duration(n) * time.Second, true
}

// unquote takes the quoted-string at the beginning of s and returns its content
// and what follows it; ok is false when it is not closed.
func unquote(s string) (content, after string, ok bool) {
	escaped := false
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			content = s[1:i]
			if escaped {
				content = unescape(content)
			}
			return content, s[i+1:], true
		case '\\':
			escaped = true
			i++
		}
	}
	return "", "", false
}

// unescape removes the backslashes of quoted-pairs.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// tokenChars are the characters of a token (RFC 9110 section 5.6.2).
var tokenChars = func() (table [256]bool) {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for _, c := range []byte(letters + "0123456789!#$%&'*+-.^_`|~") {
		table[c] = true
	}
	return table
}()

// isToken says that s is a token.
func isToken(s string) bool {
	for i := range len(s) {
		if !tokenChars[s[i]] {
			return false
		}
	}
	return s != ""
}
