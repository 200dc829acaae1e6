package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
)

// Request is what rules see of a request. It must not be changed while it is looked at.
type Request struct {
	// Method is as it was sent.
	Method string
	// Path is the path with its escapes, as it was sent, and RawQuery the query.
	Path, RawQuery string
	// Host is the name of the host, with or without port.
	Host string
	// Proto is the version of HTTP, such as "HTTP/1.1".
	Proto string
	// Header has canonical names, as net/http makes them.
	Header http.Header
	// Client is the address of the client, or invalid.
	Client netip.Addr
	// Body is the body, or as much of its beginning as BodyLimit says, without any
	// content coding.
	Body []byte
}

// Response is what rules see of a response.
type Response struct {
	// Status is the status.
	Status int
	// Header has canonical names.
	Header http.Header
	// Body is the body, or as much of its beginning as BodyLimit says, without any
	// content coding.
	Body []byte
}

// Set is a list of packs that are ready for use. It may be used from any goroutine. Nil
// is one without packs.
type Set struct {
	hash                     string
	packs                    []*Pack
	rules                    []*Rule
	byID                     map[string]*Rule
	request, response        []*Rule // that are on
	bodyLimit                int
	needsBody, needsRespBody bool
}

// Compile makes a set of packs, in order. Versions are those of what packs may require,
// by name. It is an error when a requirement is not satisfied, when two packs have a name,
// and when two rules have an id.
func Compile(packs []*Pack, versions map[string]string) (*Set, error) {
	s := &Set{packs: slices.Clone(packs), byID: map[string]*Rule{}}
	names := map[string]*Pack{}
	sum := sha256.New()
	for _, p := range packs {
		if err := p.satisfied(versions); err != nil {
			return nil, err
		}
		if other := names[p.Name]; other != nil && p.Name != "" {
			return nil, fmt.Errorf("%s:%d: there is another pack %s in %s:%d", p.File, p.line, p.Name, other.File, other.line)
		}
		names[p.Name] = p
		sum.Write([]byte(p.Hash))
		for _, r := range p.Rules {
			if other := s.byID[r.ID]; other != nil {
				return nil, fmt.Errorf("%s:%d: rule %s: there is another one of this id in %s:%d", p.File, r.Line, r.ID, other.Pack.File, other.Line)
			}
			s.add(r)
		}
	}
	s.hash = hex.EncodeToString(sum.Sum(nil))
	return s, nil
}

func (s *Set) add(r *Rule) {
	s.byID[r.ID] = r
	s.rules = append(s.rules, r)
	if !r.Enabled {
		return
	}
	if r.Phase == OnRequest {
		s.request = append(s.request, r)
	} else {
		s.response = append(s.response, r)
	}
	request, response := looksAtBodies(r.when)
	s.needsBody = s.needsBody || request
	s.needsRespBody = s.needsRespBody || response
	if request || response {
		s.bodyLimit = max(s.bodyLimit, r.Pack.BodyLimit)
	}
}

// looksAtBodies reports which bodies a condition wants to see.
func looksAtBodies(c condition) (request, response bool) {
	var list []condition
	switch c := c.(type) {
	case inBody:
		return true, false
	case inResponse:
		return false, true
	case anyOf:
		list = c
	case allOf:
		list = c
	case noneOf:
		list = c
	}
	for _, inner := range list {
		a, b := looksAtBodies(inner)
		request, response = request || a, response || b
	}
	return request, response
}

// Hash names the content of all packs and their order, in hexadecimal.
func (s *Set) Hash() string {
	if s == nil {
		return ""
	}
	return s.hash
}

// Packs returns the packs in order.
func (s *Set) Packs() []*Pack {
	if s == nil {
		return nil
	}
	return s.packs
}

// Rules returns all rules in order, also those that are off.
func (s *Set) Rules() []*Rule {
	if s == nil {
		return nil
	}
	return s.rules
}

// Rule returns the rule of an id, or nil.
func (s *Set) Rule(id string) *Rule {
	if s == nil {
		return nil
	}
	return s.byID[id]
}

// NeedsBody reports whether a rule looks into the bodies of requests.
func (s *Set) NeedsBody() bool { return s != nil && s.needsBody }

// NeedsResponse reports whether a rule looks at responses, and NeedsResponseBody
// whether one looks into their bodies.
func (s *Set) NeedsResponse() bool { return s != nil && len(s.response) > 0 }

// NeedsResponseBody is explained at NeedsResponse.
func (s *Set) NeedsResponseBody() bool { return s != nil && s.needsRespBody }

// BodyLimit is how much of the beginning of a body the rules look at, in bytes: the
// most that a pack wants. It is zero when none looks into bodies.
func (s *Set) BodyLimit() int {
	if s == nil {
		return 0
	}
	return s.bodyLimit
}

// Request calls found for each rule of the phase request that a request matches, in
// order.
func (s *Set) Request(r *Request, found func(Match)) {
	if s != nil {
		find(s.request, newView(r, nil), found)
	}
}

// Response calls found for each rule of the phase response that a response matches, in
// order. The request is that which it answers.
func (s *Set) Response(r *Request, response *Response, found func(Match)) {
	if s != nil {
		find(s.response, newView(r, response), found)
	}
}

func find(rules []*Rule, v *view, found func(Match)) {
	defer v.release()
	for _, r := range rules {
		v.setLimit(r.Pack.BodyLimit)
		v.hit = hit{}
		if r.when.holds(v, &v.hit) {
			found(v.hit.match(r, v))
		}
	}
}
