package rules

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"unsafe"
)

// view is a request, and its response if there is one, in the forms in which rules look
// at it. Each form is made when a rule first wants it, in memory that is used again.
type view struct {
	request  *Request
	response *Response
	limit    int // of bodies, for the pack whose rules look now

	// buffer holds what was decoded. What was put into it stays, even when it grows and
	// moves, as long as there is a text that refers to it.
	buffer []byte

	pathForms, queryForms, bodyForms, responseForms forms
	queryParts, bodyParts                           parts
	requestFields, responseFields                   fieldList
	cookieList                                      cookieList

	hit hit // of the rule that is looked at
}

// decodings is how many times a text is decoded: attacks are encoded twice where a
// server decodes twice.
const decodings = 2

// forms are the ways to read a text: as it is, and decoded.
type forms struct {
	ready bool
	list  []string
}

// find reports whether a pattern matches one of the forms.
func (f *forms) find(p *pattern, h *hit, place string) bool {
	for _, text := range f.list {
		if p.match(text) {
			return h.note(place, "", text, p)
		}
	}
	return false
}

// fill makes the forms of a text with escapes.
func (f *forms) fill(v *view, text string, plus bool) {
	f.ready = true
	f.list = append(f.list[:0], text)
	for range decodings {
		next, ok := v.unescape(text, plus)
		if !ok {
			return
		}
		f.list = append(f.list, next)
		text = next
	}
}

// unescape decodes a text once.
func (v *view) unescape(text string, plus bool) (string, bool) {
	start := len(v.buffer)
	var ok bool
	v.buffer, ok = unescape(v.buffer, text, plus)
	return textOf(v.buffer[start:]), ok
}

// textOf returns bytes as a text without copying them. Nobody may write to them while
// it is in use.
func textOf(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) //nolint:gosec // read only while a view lasts
}

func (v *view) path() *forms {
	if !v.pathForms.ready {
		v.pathForms.fill(v, v.request.Path, false)
	}
	return &v.pathForms
}

func (v *view) query() *forms {
	if !v.queryForms.ready {
		v.queryForms.fill(v, v.request.RawQuery, true)
	}
	return &v.queryForms
}

// bodyText is what of the body the rules of the pack see.
func (v *view) bodyText() string {
	b := v.request.Body
	return textOf(b[:min(len(b), v.limit)])
}

func (v *view) responseText() string {
	b := v.response.Body
	return textOf(b[:min(len(b), v.limit)])
}

// body is the body as it is, and decoded as its Content-Type says.
func (v *view) body() *forms {
	if f := &v.bodyForms; !f.ready {
		v.fillBody(f, v.bodyText(), v.request.Header["Content-Type"])
	}
	return &v.bodyForms
}

func (v *view) responseBody() *forms {
	if f := &v.responseForms; !f.ready {
		v.fillBody(f, v.responseText(), nil)
	}
	return &v.responseForms
}

func (v *view) fillBody(f *forms, text string, types []string) {
	f.ready = true
	f.list = append(f.list[:0], text)
	for _, t := range types {
		switch {
		case containsFold(t, "x-www-form-urlencoded"):
			f.fill(v, text, true)
		case containsFold(t, "json"):
			start := len(v.buffer)
			var ok bool
			if v.buffer, ok = unescapeJSON(v.buffer, text); ok {
				f.list = append(f.list, textOf(v.buffer[start:]))
			}
		}
	}
}

// setLimit goes over to the rules of another pack.
func (v *view) setLimit(limit int) {
	if limit != v.limit {
		v.limit = limit
		v.bodyForms.empty()
		v.responseForms.empty()
		v.bodyParts.empty()
	}
}

// piece is a name or a value of a parameter in one of its forms.
type piece struct{ name, text string }

// parts are the pieces of a query or a form.
type parts struct {
	ready bool
	list  []piece
}

func (v *view) queryPieces() []piece {
	if p := &v.queryParts; !p.ready {
		p.fill(v, v.request.RawQuery)
	}
	return v.queryParts.list
}

// bodyPieces are those of a form, or the texts of JSON.
func (v *view) bodyPieces() []piece {
	if p := &v.bodyParts; !p.ready {
		p.ready = true
		for _, t := range v.request.Header["Content-Type"] {
			if containsFold(t, "x-www-form-urlencoded") {
				p.fill(v, v.bodyText())
			} else if containsFold(t, "json") {
				p.fillJSON(v, v.bodyText())
			}
		}
	}
	return v.bodyParts.list
}

func (p *parts) fill(v *view, text string) {
	p.ready = true
	for param := range strings.SplitSeq(text, "&") {
		name, value, _ := strings.Cut(param, "=")
		p.add(v, name, name)
		p.add(v, name, value)
	}
}

// add adds the forms of a text that belongs to a name as it is sent.
func (p *parts) add(v *view, name, text string) {
	p.list = append(p.list, piece{name, text})
	for range decodings {
		next, ok := v.unescape(text, true)
		if !ok {
			return
		}
		p.list = append(p.list, piece{name, next})
		text = next
	}
}

// fillJSON takes the texts out of JSON, each with the name of its member or of the last
// one before it. It need not be valid: a text is what is between two quotation marks.
func (p *parts) fillJSON(v *view, text string) {
	name := ""
	for {
		start := strings.IndexByte(text, '"')
		if start < 0 {
			return
		}
		text = text[start+1:]
		end := 0
		for end < len(text) && text[end] != '"' {
			if text[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end, len(text))
		value := text[:end]
		text = text[min(end+1, len(text)):]
		at := len(v.buffer)
		var ok bool
		if v.buffer, ok = unescapeJSON(v.buffer, value); ok {
			value = textOf(v.buffer[at:])
		}
		if strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), ":") {
			name = value
		}
		p.list = append(p.list, piece{name, value})
	}
}

// findPiece reports whether a pattern matches one of the pieces.
func findPiece(list []piece, p *pattern, h *hit) bool {
	for _, c := range list {
		if p.match(c.text) {
			return h.note(placeParam, c.name, c.text, p)
		}
	}
	return false
}

// field is a field of a header.
type field struct{ name, value, line string } // line is "Name:value"

// fieldList are fields in order.
type fieldList struct {
	ready bool
	names []string
	list  []field
}

func (v *view) header(response bool) http.Header {
	if response {
		return v.response.Header
	}
	return v.request.Header
}

// fields returns the fields of the request or of the response, by name. Host is one of
// them, though net/http keeps it elsewhere.
func (v *view) fields(response bool) []field {
	f := &v.requestFields
	if response {
		f = &v.responseFields
	}
	if f.ready {
		return f.list
	}
	f.ready, f.names, f.list = true, f.names[:0], f.list[:0]
	header := v.header(response)
	for name := range header {
		f.names = append(f.names, name)
	}
	slices.Sort(f.names) // so that the same match is told each time
	if !response && v.request.Host != "" {
		f.add(v, "Host", v.request.Host)
	}
	for _, name := range f.names {
		for _, value := range header[name] {
			f.add(v, name, value)
		}
	}
	return f.list
}

func (f *fieldList) add(v *view, name, value string) {
	start := len(v.buffer)
	v.buffer = append(v.buffer, name...)
	v.buffer = append(v.buffer, ':')
	v.buffer = append(v.buffer, value...)
	f.list = append(f.list, field{name, value, textOf(v.buffer[start:])})
}

// cookieList are the values of cookies in their forms.
type cookieList struct {
	ready bool
	list  []piece
}

// cookies returns the cookies as a browser sends them (RFC 6265 section 4.2.1). What is
// not of that form is taken as far as it goes.
func (v *view) cookies() []piece {
	c := &v.cookieList
	if c.ready {
		return c.list
	}
	c.ready, c.list = true, c.list[:0]
	for _, line := range v.request.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			if name == "" && value == "" {
				continue
			}
			c.list = append(c.list, piece{name, value})
			for range decodings {
				next, ok := v.unescape(value, false)
				if !ok {
					break
				}
				c.list = append(c.list, piece{name, next})
				value = next
			}
		}
	}
	return c.list
}

// views are those that nobody uses.
var views = sync.Pool{New: func() any { return new(view) }}

// maxIdle is how much of a buffer is kept for the next request, in bytes, and
// maxIdleEntries how many entries of each list.
const (
	maxIdle        = 256 << 10
	maxIdleEntries = 256
)

func newView(request *Request, response *Response) *view {
	v := views.Get().(*view)
	v.request, v.response = request, response
	return v
}

// release gives the view back. No text that came of it may be used any more.
func (v *view) release() {
	v.request, v.response, v.limit, v.hit = nil, nil, 0, hit{}
	if v.buffer = v.buffer[:0]; cap(v.buffer) > maxIdle {
		v.buffer = nil
	}
	v.pathForms.empty()
	v.queryForms.empty()
	v.bodyForms.empty()
	v.responseForms.empty()
	v.queryParts.empty()
	v.bodyParts.empty()
	v.requestFields.empty()
	v.responseFields.empty()
	v.cookieList.empty()
	views.Put(v)
}

func (f *forms) empty()      { f.ready, f.list = false, idle(f.list) }
func (p *parts) empty()      { p.ready, p.list = false, idle(p.list) }
func (c *cookieList) empty() { c.ready, c.list = false, idle(c.list) }
func (f *fieldList) empty()  { f.ready, f.names, f.list = false, idle(f.names), idle(f.list) }

// idle empties a list for the next request, and lets go of what it refers to.
func idle[T any](list []T) []T {
	if cap(list) > maxIdleEntries {
		return nil
	}
	clear(list)
	return list[:0]
}
