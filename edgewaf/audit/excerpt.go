package audit

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxExcerpt is how many bytes of what was found are told.
	MaxExcerpt = 128
	// MaxName is how many bytes of a variable's name are told, and of paths and the like.
	MaxName = 256
	// Redacted stands for what is secret.
	Redacted = "[redacted]"
)

// secretWords are parts of the names of what is secret, in lower case.
var secretWords = []string{
	"pass", "pwd", "secret", "token", "auth", "session", "sessid", "cookie", "credential", "apikey", "api_key", "api-key", "private", "csrf", "xsrf",
	"signature", "cvv", "cvc", "card", "iban", "ssn", "otp", "pin", "jwt", "bearer", "sid",
}

// secretVariables are those whose values are secret whatever their name.
var secretVariables = map[string]bool{
	"REQUEST_COOKIES": true, "REQUEST_BODY": true, "RESPONSE_BODY": true, "QUERY_STRING": true, "REQUEST_URI": true, "REQUEST_URI_RAW": true,
	"REQUEST_LINE": true, "FULL_REQUEST": true, "REQUEST_XML": true, "XML": true, "RESPONSE_XML": true,
	// What rules made of others.
	"TX": true, "MATCHED_VAR": true, "MATCHED_VARS": true,
}

// Excerpt returns what may be told of the value of a variable: nothing when its name or key
// sounds secret, and of variables that hold several values only what can't be one of them.
func Excerpt(variable, key, value string) string {
	if secretVariables[variable] || Secret(key) {
		return Redacted
	}
	return Clean(value, MaxExcerpt)
}

// Secret reports whether a name is that of a secret.
func Secret(name string) bool {
	name = strings.ToLower(name)
	for _, word := range secretWords {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// Clean returns a text for a log: at most n bytes, and nothing that a terminal obeys.
func Clean(s string, n int) string {
	cut := len(s) > n
	if cut {
		s = whole(s[:n])
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == utf8.RuneError || unicode.IsControl(r) || !unicode.IsPrint(r):
			b.WriteRune('\uFFFD')
		default:
			b.WriteRune(r)
		}
	}
	if cut {
		b.WriteString("…")
	}
	return b.String()
}

// whole takes away a character at the end that is not complete.
func whole(s string) string {
	for n := 1; n < utf8.UTFMax && n <= len(s); n++ {
		if tail := s[len(s)-n:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRuneInString(tail) {
				return s[:len(s)-n]
			}
			break
		}
	}
	return s
}
