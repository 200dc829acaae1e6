package edgeapp

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// kind is the property of a request that a condition is about.
type kind uint8

const (
	onHost kind = iota
	onPath
	onMethod
	// onOther is any other matcher, of which only equality is known.
	onOther
)

// condition is a necessary condition for a request to enter a route: its
// property is one of values, or none of them when not is set.
type condition struct {
	kind   kind
	not    bool
	values []string
	// matcher is the one of onOther.
	matcher any
	// epoch tells between which rewrites of the request the condition was
	// tested. Conditions on path and method of different epochs say nothing
	// about each other.
	epoch int
}

// excludes reports whether no request meets both conditions.
func (c condition) excludes(o condition) bool {
	if c.kind != o.kind || c.not && o.not {
		return false
	}
	if (c.kind == onPath || c.kind == onMethod) && c.epoch != o.epoch {
		return false
	}
	if c.not {
		c, o = o, c
	}
	// c is positive now: each of its values must be impossible under o.
	for _, v := range c.values {
		if o.not && !slices.ContainsFunc(o.values, func(other string) bool { return c.kind.covers(other, v) }) {
			return false
		}
		if !o.not && slices.ContainsFunc(o.values, func(other string) bool { return c.kind.overlap(other, v) }) {
			return false
		}
	}
	return true
}

// exclusive reports whether no request meets all conditions of both lists.
func exclusive(a, b []condition) bool {
	for _, c := range a {
		if slices.ContainsFunc(b, c.excludes) {
			return true
		}
	}
	return false
}

// overlap reports whether a request may match both patterns; it says yes when
// it cannot tell.
func (k kind) overlap(a, b string) bool {
	switch k {
	case onHost:
		return hostsOverlap(a, b)
	case onPath:
		return pathsOverlap(a, b)
	case onMethod:
		return a == b
	default:
		return true
	}
}

// covers reports whether all requests that match inner match outer; it says no
// when it cannot tell.
func (k kind) covers(outer, inner string) bool {
	switch k {
	case onHost:
		return hostCovers(outer, inner)
	case onPath:
		return pathCovers(outer, inner)
	default:
		return outer == inner
	}
}

// conditions returns what all requests that match sets have in common.
func conditions(sets caddyhttp.MatcherSets, epoch int) []condition {
	switch len(sets) {
	case 0:
		return nil
	case 1:
		var all []condition
		for _, m := range sets[0] {
			all = append(all, matcherConditions(m, epoch)...)
		}
		return all
	default:
		return unionConditions(sets, epoch)
	}
}

// unionConditions handles alternatives: only what each of them asks for is a
// necessary condition.
func unionConditions(sets caddyhttp.MatcherSets, epoch int) []condition {
	var all []condition
	for k := range onOther {
		union := condition{kind: k, epoch: epoch}
		for _, set := range sets {
			i := slices.IndexFunc(set, func(m any) bool {
				c := positive(m, epoch)
				return c.kind == k
			})
			if i < 0 {
				union.values = nil
				break
			}
			union.values = append(union.values, positive(set[i], epoch).values...)
		}
		if union.values != nil {
			all = append(all, union)
		}
	}
	return all
}

func matcherConditions(m any, epoch int) []condition {
	not, ok := m.(*caddyhttp.MatchNot)
	if !ok {
		return []condition{positive(m, epoch)}
	}
	var all []condition
	for _, set := range not.MatcherSets {
		// Not (a and b) is no conjunction, so it yields no condition.
		if len(set) == 1 {
			c := positive(set[0], epoch)
			c.not = true
			all = append(all, c)
		}
	}
	return all
}

func positive(m any, epoch int) condition {
	switch m := m.(type) {
	case *caddyhttp.MatchHost:
		return condition{kind: onHost, values: *m}
	case *caddyhttp.MatchPath:
		return condition{kind: onPath, values: *m, epoch: epoch}
	case *caddyhttp.MatchMethod:
		return condition{kind: onMethod, values: *m, epoch: epoch}
	default:
		return condition{kind: onOther, values: []string{identity(m)}, matcher: m}
	}
}

// identity is equal for matchers that are configured alike.
func identity(m any) string {
	not, ok := m.(*caddyhttp.MatchNot)
	if !ok {
		// Provisioned state is unexported and thus left out.
		config, err := json.Marshal(m)
		if err != nil {
			return fmt.Sprintf("%s %p", moduleName(m), m)
		}
		return moduleName(m) + " " + string(config)
	}
	var sets []string
	for _, set := range not.MatcherSets {
		sets = append(sets, setIdentity(set))
	}
	// The parentheses are needed: "not (a) or b" is something else.
	return "not (" + strings.Join(sets, " or ") + ")"
}

// setIdentity does not depend on the order of the matchers, which Caddy reads
// from a map.
func setIdentity(set []any) string {
	var ids []string
	for _, m := range set {
		ids = append(ids, identity(m))
	}
	if len(ids) == 1 {
		return ids[0]
	}
	slices.Sort(ids)
	return "(" + strings.Join(ids, " and ") + ")"
}
