package rules

import (
	"fmt"
	"net/http"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Mode says whether a rule is in force.
type Mode uint8

const (
	// Shadow: what the rule would do is only told.
	Shadow Mode = iota
	// Enforce: it is done.
	Enforce
)

var modes = []string{"shadow", "enforce"}

// String returns "shadow" or "enforce".
func (m Mode) String() string { return modes[m] }

// Phase is when a rule is looked at.
type Phase uint8

const (
	// OnRequest: before the request is passed on.
	OnRequest Phase = iota
	// OnResponse: when the response has come.
	OnResponse
)

var phases = []string{"request", "response"}

// String returns "request" or "response".
func (p Phase) String() string { return phases[p] }

// Action is what a rule does with what it matches.
type Action uint8

const (
	// Log: it is only told.
	Log Action = iota
	// Block: the request is refused, or the response held back.
	Block
	// Allow: rules behind this one in its pack neither block nor limit.
	Allow
	// BypassCache: the cache has no part in it.
	BypassCache
	// Limit: the request is counted in a zone of edge_limit.
	Limit
)

var actions = []string{"log", "block", "allow", "bypass_cache", "limit"}

// String returns the name of the action as it is written in files.
func (a Action) String() string { return actions[a] }

// DefaultStatus is the status of a block that names none.
const DefaultStatus = http.StatusForbidden

// Rule is one rule of a pack. It must not be changed.
type Rule struct {
	// ID names the rule. There is only one of a name in a Set.
	ID string
	// Description is for people.
	Description string
	// Pack is where the rule comes from, and Line where it is there.
	Pack *Pack
	Line int
	// Enabled false turns the rule off: it matches nothing. Default: true.
	Enabled bool
	// Phase is when the rule is looked at. Default: OnRequest.
	Phase Phase
	// Mode is the rule's own, or that of its pack. It concerns the actions Block,
	// Allow and Limit.
	Mode Mode
	// Tags are what rules are chosen by.
	Tags []string
	// Action is what the rule does.
	Action Action
	// Status is that of a block, from 400 to 599. Default: DefaultStatus.
	Status int
	// Zone is that of Limit.
	Zone string
	// Log false keeps a match out of the log; it counts in metrics all the same.
	// Default: true.
	Log bool

	when condition
}

// maxTags is how many tags a rule may have.
const maxTags = 32

// mode reads a mode. Without one in the pack it is shadow.
func (s *source) mode(n *yaml.Node) Mode {
	return choose(s, "mode", n, modes, []Mode{Shadow, Enforce})
}

// readRule reads the entry of a list of rules at some position. Without an id there is
// an error.
func (s *source) readRule(n *yaml.Node, position int, p *Pack) *Rule {
	r := &Rule{Pack: p, Line: n.Line, Enabled: true, Mode: p.Mode, Log: true}
	s.rule = fmt.Sprintf("%d", position+1)
	defer func() { s.rule = "" }()
	if n.Kind != yaml.MappingNode {
		s.each(n, "", nil)
		return r
	}
	id := get(n, "id")
	if id == nil {
		s.fault(n, "has no id")
		return r
	}
	var ok bool
	if r.ID, ok = s.id("id", id); !ok {
		return r
	}
	s.rule = r.ID
	// What a condition and an action may be depends on the phase.
	if phase := get(n, "phase"); phase != nil {
		r.Phase = choose(s, "phase", phase, phases, []Phase{OnRequest, OnResponse})
	}
	s.each(n, "", func(field string, value *yaml.Node) bool {
		switch field {
		case "id", "phase":
		case "enabled":
			r.Enabled = s.flag(field, value)
		case "description":
			if value.Value != "" || value.Kind != yaml.ScalarNode {
				r.Description, _ = s.text(field, value)
			}
		case "tags":
			r.Tags = s.tags(value)
		case "mode":
			r.Mode = s.mode(value)
		case "match":
			r.when = s.match(value, r.Phase)
		case "action":
			s.action(value, r)
		default:
			return false
		}
		return true
	})
	if get(n, "match") == nil {
		s.fault(n, "has no match")
	}
	action := get(n, "action")
	if action == nil {
		s.fault(n, "has no action")
	}
	if mode := get(n, "mode"); mode != nil && action != nil && get(action, "type") != nil && (r.Action == Log || r.Action == BypassCache) {
		s.fault(mode, "mode: has no effect on the action %s", r.Action)
	}
	return r
}

// tags reads the tags of a rule.
func (s *source) tags(n *yaml.Node) (list []string) {
	if n.Kind != yaml.SequenceNode {
		s.fault(n, "tags: invalid value %s: want a list of texts", show(n))
		return nil
	}
	if len(n.Content) > maxTags {
		s.fault(n, "tags: %d are more than %d", len(n.Content), maxTags)
		return nil
	}
	for _, entry := range n.Content {
		tag, ok := s.name("tags", entry)
		switch {
		case !ok:
		case slices.Contains(list, tag):
			s.fault(entry, "tags: %q is there twice", tag)
		default:
			list = append(list, tag)
		}
	}
	return list
}

// action reads what a rule does.
func (s *source) action(n *yaml.Node, r *Rule) {
	var status, zone *yaml.Node
	s.each(n, "action: ", func(field string, value *yaml.Node) bool {
		switch field {
		case "type":
			r.Action = choose(s, "action: type", value, actions, []Action{Log, Block, Allow, BypassCache, Limit})
		case "status_code":
			status = value
		case "zone":
			zone = value
		case "log":
			r.Log = s.flag("action: log", value)
		default:
			return false
		}
		return true
	})
	if n.Kind != yaml.MappingNode {
		return
	}
	if get(n, "type") == nil {
		s.fault(n, "action: has no type")
		return
	}
	switch {
	case r.Action == Block && status != nil:
		r.Status = s.number("action: status_code", status, 400, 599)
	case r.Action == Block:
		r.Status = DefaultStatus
	case status != nil:
		s.fault(status, "action: status_code: only with the type block")
	}
	switch {
	case r.Action == Limit && r.Phase == OnResponse:
		s.fault(n, "action: type: limit is for the phase request")
	case r.Action == Limit && zone == nil:
		s.fault(n, "action: limit has no zone")
	case r.Action == Limit:
		r.Zone, _ = s.name("action: zone", zone)
	case zone != nil:
		s.fault(zone, "action: zone: only with the type limit")
	}
}
