package rules

import (
	"go.yaml.in/yaml/v3"
)

// maxNesting is how deep any, all and not may be in one another.
const maxNesting = 8

// condition is what a rule looks for.
type condition interface {
	// holds reports whether a request has it, and notes in h where. Without h only
	// the answer matters.
	holds(v *view, h *hit) bool
}

// anyOf holds when one of its conditions does.
type anyOf []condition

func (list anyOf) holds(v *view, h *hit) bool {
	for _, c := range list {
		if c.holds(v, h) {
			return true
		}
	}
	return false
}

// allOf holds when each of its conditions does. The first that says where tells it for
// all.
type allOf []condition

func (list allOf) holds(v *view, h *hit) bool {
	var before hit
	if h != nil {
		before = *h
	}
	for _, c := range list {
		if !c.holds(v, h) {
			if h != nil {
				*h = before
			}
			return false
		}
	}
	return true
}

// noneOf holds when none of its conditions does.
type noneOf []condition

func (list noneOf) holds(v *view, _ *hit) bool { return !anyOf(list).holds(v, nil) }

// match reads what a rule looks for: any, all and not, each of which must hold.
func (s *source) match(n *yaml.Node, phase Phase) condition {
	var list []condition
	s.each(n, "match: ", func(field string, value *yaml.Node) bool {
		c, known := s.group(field, value, phase, 1)
		list = append(list, c...)
		return known
	})
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		s.fault(n, "match: is empty")
	}
	return join(list, func(list []condition) condition { return allOf(list) })
}

// join makes one condition of a list.
func join(list []condition, group func([]condition) condition) condition {
	if len(list) == 1 {
		return list[0]
	}
	return group(list)
}

// group reads any, all or not, and reports whether the field is one of them. There is no
// condition where there is a fault.
func (s *source) group(field string, n *yaml.Node, phase Phase, depth int) (list []condition, known bool) {
	var group func([]condition) condition
	entries := []*yaml.Node{n}
	switch field {
	case "any":
		group = func(list []condition) condition { return anyOf(list) }
	case "all":
		group = func(list []condition) condition { return allOf(list) }
	case "not":
		group = func(list []condition) condition { return noneOf(list) }
	default:
		return nil, false
	}
	if depth > maxNesting {
		s.fault(n, "%s: is nested deeper than %d times", field, maxNesting)
		return nil, true
	}
	if field != "not" || n.Kind != yaml.MappingNode {
		entries = s.list(field, n, "conditions")
	}
	var inner []condition
	for _, entry := range entries {
		c := s.entry(entry, phase, depth)
		if field == "any" && len(c) > 1 {
			s.warn(entry, "any: an entry with several fields matches when one of them does; under all each must")
		}
		inner = append(inner, c...)
	}
	if len(inner) == 0 {
		return nil, true
	}
	if field == "not" {
		return []condition{noneOf(inner)}, true
	}
	return []condition{join(inner, group)}, true
}

// pairs are the fields that are one condition together: a name, and what the values of
// that name must match.
var pairs = map[string]string{
	"header_regex":          "header_name",
	"cookie_regex":          "cookie_name",
	"response_header_regex": "response_header_name",
}

// entry reads an entry of a list of conditions. Each of its fields is a condition, as
// if it were an entry of its own.
func (s *source) entry(n *yaml.Node, phase Phase, depth int) (list []condition) {
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		s.fault(n, "an entry is empty")
		return nil
	}
	paired := func(name string) bool {
		for regex, of := range pairs {
			if of == name && get(n, regex) != nil {
				return true
			}
		}
		return false
	}
	s.each(n, "", func(field string, value *yaml.Node) bool {
		if inner, known := s.group(field, value, phase, depth+1); known {
			list = append(list, inner...)
			return true
		}
		read, known := conditions[field]
		if !known {
			return false
		}
		if read.phase > phase {
			s.fault(value, "%s: only in the phase response", field)
			return true
		}
		if paired(field) {
			return true // it is read with its pattern
		}
		var name *yaml.Node
		if with, ok := pairs[field]; ok {
			name = get(n, with)
		}
		if c := read.read(s, field, value, name); c != nil {
			list = append(list, c)
		}
		return true
	})
	return list
}
