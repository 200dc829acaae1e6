package crs

import (
	"regexp"
	"slices"
	"strings"
)

// names is the text of a request in which names of arguments, cookies and fields are, in
// lower case. It is made as far as somebody asks.
type names struct {
	r             *Request
	query, body   []string
	madeQ, madeB  bool
	cookies       string
	madeC         bool
	media         string
	madeMediaType bool
}

func namesOf(r *Request) *names { return &names{r: r} }

// may reports whether the request may have a name. Escapes in JSON are not undone: then an
// exception does not hold.
func (n *names) may(t *target) bool {
	switch t.kind {
	case kindParam:
		return has(n.queries(), t.words) || has(n.bodies(), t.words)
	case kindJSON:
		return len(n.r.Body) > 0 && has(n.bodies()[:1], t.words)
	case kindCookie:
		return len(n.r.Header["Cookie"]) > 0 && has([]string{n.cookie()}, t.words)
	case kindHeader:
		return n.header(t.key, t.pattern)
	}
	return true
}

// has reports whether one of the texts has all words.
func has(texts, words []string) bool {
	return slices.ContainsFunc(texts, func(text string) bool {
		for _, word := range words {
			if !strings.Contains(text, word) {
				return false
			}
		}
		return true
	})
}

func (n *names) queries() []string {
	if !n.madeQ {
		n.madeQ = true
		if _, query, ok := strings.Cut(n.r.URI, "?"); ok {
			n.query = spellings(query)
		}
	}
	return n.query
}

func (n *names) bodies() []string {
	if !n.madeB {
		n.madeB = true
		if len(n.r.Body) > 0 {
			n.body = spellings(string(n.r.Body))
		}
	}
	return n.body
}

func (n *names) cookie() string {
	if !n.madeC {
		n.madeC = true
		n.cookies = strings.ToLower(strings.Join(n.r.Header["Cookie"], ";"))
	}
	return n.cookies
}

// header reports whether there may be a field of a name.
func (n *names) header(key string, pattern *regexp.Regexp) bool {
	for name := range n.r.Header {
		if pattern == nil && strings.EqualFold(name, key) || pattern != nil && pattern.MatchString(strings.ToLower(name)) {
			return true
		}
	}
	// These are not in the header.
	for _, name := range []string{"host", "transfer-encoding"} {
		if pattern == nil && name == key || pattern != nil && pattern.MatchString(name) {
			return true
		}
	}
	return false
}

// mediaType is that of the content, in lower case.
func (n *names) mediaType() string {
	if !n.madeMediaType {
		n.madeMediaType = true
		if values := n.r.Header["Content-Type"]; len(values) == 1 {
			text, _, _ := strings.Cut(values[0], ";")
			n.media = strings.ToLower(strings.TrimSpace(text))
		}
	}
	return n.media
}

// spellings is a text in lower case: as it is, and decoded if that makes a difference.
func spellings(text string) []string {
	list := []string{strings.ToLower(text)}
	if strings.ContainsAny(text, "%+") {
		list = append(list, strings.ToLower(unescape(text)))
	}
	return list
}

// unescape decodes a query. What is no escape stays as it is.
func unescape(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b.WriteByte(' ')
		case s[i] == '%' && i+2 < len(s) && nibble(s[i+1]) >= 0 && nibble(s[i+2]) >= 0:
			b.WriteByte(byte(nibble(s[i+1])<<4 | nibble(s[i+2])))
			i += 2
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// nibble is the value of a digit, -1 if it is none.
func nibble(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
