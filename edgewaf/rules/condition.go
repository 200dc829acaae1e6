package rules

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/caddyedge/caddy-edge/edgewaf/access"
)

// reader makes a condition of a field, and of the name that belongs to it or nil. It
// returns nil where there is a fault.
type reader struct {
	phase Phase // of which the condition is, and of those after it
	read  func(s *source, field string, value, name *yaml.Node) condition
}

// conditions are the fields of an entry.
var conditions = map[string]reader{
	"path_regex":       {OnRequest, regex(func(p *pattern) condition { return inPath{p} })},
	"query_regex":      {OnRequest, regex(func(p *pattern) condition { return inQuery{p} })},
	"body_regex":       {OnRequest, regex(func(p *pattern) condition { return inBody{p} })},
	"user_agent_regex": {OnRequest, regex(func(p *pattern) condition { return inAgent{p} })},
	"header_name":      {OnRequest, fieldName(false)},
	"header_regex":     {OnRequest, fieldRegex(false)},
	"cookie_name":      {OnRequest, readCookieName},
	"cookie_regex":     {OnRequest, readCookieRegex},
	"content_type":     {OnRequest, words(func(list []string) condition { return contentType{false, list} })},
	"method":           {OnRequest, words(func(list []string) condition { return method(list) })},
	"ip_cidr":          {OnRequest, readAddresses},
	"host":             {OnRequest, readHosts},
	"protocol":         {OnRequest, readProtocols},

	"status":                {OnResponse, readStatus},
	"response_header_name":  {OnResponse, fieldName(true)},
	"response_header_regex": {OnResponse, fieldRegex(true)},
	"response_content_type": {OnResponse, words(func(list []string) condition { return contentType{true, list} })},
	"response_body_regex":   {OnResponse, regex(func(p *pattern) condition { return inResponse{p} })},
}

// pattern reads a regular expression.
func (s *source) pattern(field string, n *yaml.Node) *pattern {
	expr, ok := s.text(field, n)
	if !ok {
		return nil
	}
	p, weight, err := newPattern(expr)
	if err != nil {
		s.fault(n, "%s: %v", field, err)
		return nil
	}
	if s.weight += weight; s.weight > maxPackWeight {
		s.fault(n, "%s: the patterns of the file are too large together", field)
		return nil
	}
	return p
}

func regex(build func(*pattern) condition) func(*source, string, *yaml.Node, *yaml.Node) condition {
	return func(s *source, field string, value, _ *yaml.Node) condition {
		if p := s.pattern(field, value); p != nil {
			return build(p)
		}
		return nil
	}
}

func words(build func([]string) condition) func(*source, string, *yaml.Node, *yaml.Node) condition {
	return func(s *source, field string, value, _ *yaml.Node) condition {
		list := s.texts(field, value)
		if len(list) == 0 {
			return nil
		}
		return build(list)
	}
}

// inPath looks for a pattern in the path.
type inPath struct{ *pattern }

func (c inPath) holds(v *view, h *hit) bool { return v.path().find(c.pattern, h, placePath) }

// inQuery looks for a pattern in the query.
type inQuery struct{ *pattern }

func (c inQuery) holds(v *view, h *hit) bool {
	if v.query().find(c.pattern, h, placeQuery) {
		return true
	}
	return c.anchored && findPiece(v.queryPieces(), c.pattern, h)
}

// inBody looks for a pattern in the body of a request that has one.
type inBody struct{ *pattern }

func (c inBody) holds(v *view, h *hit) bool {
	if v.bodyText() == "" {
		return false
	}
	if v.body().find(c.pattern, h, placeBody) {
		return true
	}
	return c.anchored && findPiece(v.bodyPieces(), c.pattern, h)
}

// inResponse looks for a pattern in the body of a response that has one.
type inResponse struct{ *pattern }

func (c inResponse) holds(v *view, h *hit) bool {
	return v.responseText() != "" && v.responseBody().find(c.pattern, h, placeResponseBody)
}

// inAgent looks for a pattern in User-Agent. Who sends none has an empty one.
type inAgent struct{ *pattern }

func (c inAgent) holds(v *view, h *hit) bool {
	values := v.request.Header["User-Agent"]
	if len(values) == 0 {
		return c.match("") && h.note(placeField, "User-Agent", "", nil)
	}
	for _, value := range values {
		if c.match(value) {
			return h.note(placeField, "User-Agent", value, c.pattern)
		}
	}
	return false
}

func fieldName(response bool) func(*source, string, *yaml.Node, *yaml.Node) condition {
	return func(s *source, field string, value, _ *yaml.Node) condition {
		if name, ok := s.name(field, value); ok {
			return hasField{response, http.CanonicalHeaderKey(name)}
		}
		return nil
	}
}

// fieldRegex is about the fields of one name, or about all of them.
func fieldRegex(response bool) func(*source, string, *yaml.Node, *yaml.Node) condition {
	return func(s *source, field string, value, name *yaml.Node) condition {
		p := s.pattern(field, value)
		if p == nil {
			return nil
		}
		if name == nil {
			return inField{response, "", p}
		}
		if of, ok := s.name(pairs[field], name); ok {
			return inField{response, http.CanonicalHeaderKey(of), p}
		}
		return nil
	}
}

// hasField holds when there is a field of a name that is not empty.
type hasField struct {
	response bool
	name     string
}

func (c hasField) holds(v *view, h *hit) bool {
	for _, f := range v.fields(c.response) {
		if f.name == c.name && f.value != "" {
			return h.note(placeOf(c.response), f.name, f.value, nil)
		}
	}
	return false
}

// inField looks for a pattern in lines "Name:value", or in the values of one name as
// well.
type inField struct {
	response bool
	name     string // or empty for all
	*pattern
}

func (c inField) holds(v *view, h *hit) bool {
	for _, f := range v.fields(c.response) {
		switch {
		case c.name != "" && c.name != f.name:
		case c.name != "" && c.match(f.value):
			return h.note(placeOf(c.response), f.name, f.value, c.pattern)
		case c.match(f.line):
			return h.note(placeOf(c.response), f.name, f.line, c.pattern)
		}
	}
	return false
}

func readCookieName(s *source, field string, value, _ *yaml.Node) condition {
	if name, ok := s.name(field, value); ok {
		return inCookie{name, nil}
	}
	return nil
}

func readCookieRegex(s *source, field string, value, name *yaml.Node) condition {
	p := s.pattern(field, value)
	if p == nil {
		return nil
	}
	if name == nil {
		return inCookie{"", p}
	}
	if of, ok := s.name(pairs[field], name); ok {
		return inCookie{of, p}
	}
	return nil
}

// inCookie looks for a cookie of a name, or of any, and for a pattern in its value.
type inCookie struct {
	name string // or empty for all
	*pattern
}

func (c inCookie) holds(v *view, h *hit) bool {
	for _, k := range v.cookies() {
		if (c.name == "" || c.name == k.name) && (c.pattern == nil || c.match(k.text)) {
			return h.note(placeCookie, k.name, "", nil)
		}
	}
	return false
}

// contentType holds when Content-Type contains one of some texts, whatever their case.
type contentType struct {
	response bool
	list     []string
}

func (c contentType) holds(v *view, h *hit) bool {
	for _, value := range v.header(c.response)["Content-Type"] {
		for _, word := range c.list {
			if containsFold(value, word) {
				return h.note(placeOf(c.response), "Content-Type", value, nil)
			}
		}
	}
	return false
}

// method holds for some methods. Their case makes no difference: methods are
// case-sensitive (RFC 9110 section 9.1), but not all servers know.
type method []string

func (list method) holds(v *view, h *hit) bool {
	for _, m := range list {
		if strings.EqualFold(m, v.request.Method) {
			return h.note(placeMethod, "", v.request.Method, nil)
		}
	}
	return false
}

func readAddresses(s *source, field string, value, _ *yaml.Node) condition {
	list := s.texts(field, value)
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	set, err := access.ParsePrefixes(list)
	if err != nil {
		s.fault(value, "%s: %v", field, err)
		return nil
	}
	if len(list) == 0 {
		return nil
	}
	return from{set}
}

// from holds for clients with some addresses. Who has none is none of them.
type from struct{ *access.Set }

func (c from) holds(v *view, h *hit) bool {
	return c.Contains(v.request.Client) && (h == nil || h.note(placeClient, "", addrText(v.request.Client), nil))
}

func addrText(a netip.Addr) string { return a.Unmap().String() }

func readHosts(s *source, field string, value, _ *yaml.Node) condition {
	list := s.texts(field, value)
	for i, name := range list {
		if strings.Contains(strings.TrimPrefix(name, "*."), "*") || strings.ContainsAny(name, "/ @") {
			s.fault(value, "%s: invalid value %q: want a name such as example.com or *.example.com", field, shorten(name))
			return nil
		}
		list[i] = bareHost(strings.ToLower(name))
	}
	if len(list) == 0 {
		return nil
	}
	return host(list)
}

// host holds for some names of hosts, without port. "*." stands for one label or more.
type host []string

func (list host) holds(v *view, h *hit) bool {
	name := bareHost(v.request.Host)
	for _, want := range list {
		suffix, wild := strings.CutPrefix(want, "*")
		if strings.EqualFold(name, want) ||
			wild && len(name) > len(suffix) && strings.EqualFold(name[len(name)-len(suffix):], suffix) {
			return h.note(placeHost, "", v.request.Host, nil)
		}
	}
	return false
}

// bareHost takes the port and the dot of the root off.
func bareHost(s string) string {
	if i := strings.LastIndexByte(s, ':'); i >= 0 && (strings.HasSuffix(s[:i], "]") || !strings.Contains(s[:i], ":")) {
		s = s[:i]
	}
	return strings.TrimSuffix(s, ".")
}

var protocols = []string{"HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/3"}

func readProtocols(s *source, field string, value, _ *yaml.Node) condition {
	list := s.texts(field, value)
	for i := range list {
		upper := strings.TrimSuffix(strings.ToUpper(list[i]), "/2.0")
		if len(upper) < len(list[i]) {
			upper += "/2"
		}
		if upper == "HTTP/3.0" {
			upper = "HTTP/3"
		}
		known := false
		for _, p := range protocols {
			known = known || p == upper
		}
		if !known {
			s.fault(value, "%s: unknown value %q: want %s", field, shorten(list[i]), orList(protocols))
			return nil
		}
		list[i] = upper
	}
	if len(list) == 0 {
		return nil
	}
	return protocol(list)
}

// protocol holds for versions of HTTP.
type protocol []string

func (list protocol) holds(v *view, h *hit) bool {
	have := v.request.Proto
	for _, want := range list {
		if have == want || len(want) == len("HTTP/2") && strings.TrimSuffix(have, ".0") == want {
			return h.note(placeProtocol, "", have, nil)
		}
	}
	return false
}

func readStatus(s *source, field string, value, _ *yaml.Node) condition {
	texts := s.texts(field, value)
	var list status
	for _, text := range texts {
		low, high, ok := statusRange(text)
		if !ok {
			s.fault(value, "%s: invalid value %q: want a status, a class or a range, such as 404, 5xx or 500-504", field, shorten(text))
			return nil
		}
		list = append(list, [2]int{low, high})
	}
	if len(list) == 0 {
		return nil
	}
	return list
}

// statusRange reads "404", "5xx" or "500-504".
func statusRange(text string) (low, high int, ok bool) {
	if len(text) == 3 && strings.EqualFold(text[1:], "xx") && text[0] >= '1' && text[0] <= '5' {
		low = int(text[0]-'0') * 100
		return low, low + 99, true
	}
	from, to, isRange := strings.Cut(text, "-")
	if !isRange {
		to = from
	}
	low, err := strconv.Atoi(strings.TrimSpace(from))
	if err != nil {
		return 0, 0, false
	}
	high, err = strconv.Atoi(strings.TrimSpace(to))
	return low, high, err == nil && low >= 100 && high <= 599 && low <= high
}

// status holds for ranges of the status of the response.
type status [][2]int

func (list status) holds(v *view, h *hit) bool {
	for _, r := range list {
		if s := v.response.Status; s >= r[0] && s <= r[1] {
			return h == nil || h.note(placeStatus, "", strconv.Itoa(s), nil)
		}
	}
	return false
}
