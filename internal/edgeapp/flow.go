package edgeapp

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// maxFlows bounds the number of ways that are told apart. Route lists made from
// a Caddyfile need far fewer.
const maxFlows = 512

// flows are the ways in which a request can arrive at a point of the route
// tree, by the route groups that were satisfied on the way (see satisfied).
// None means that the point cannot be reached.
type flows map[string]flow

// flow is one way, or several that have satisfied the same groups.
type flow struct {
	// passed are the caches in front. The value names what of the request,
	// though not in the cache's key, has decided since the cache that the
	// request came here; "" when nothing has.
	passed map[*cache]string
	// brought is what was set in front of a cache that comes later.
	brought brought
	// breakers are those in front, up to the last one.
	breakers map[*breaker]passage
	// guards are those in front.
	guards map[*guard]bool
	// epoch changes whenever the request is rewritten.
	epoch int
}

// clone copies f with its maps.
func (f flow) clone() flow {
	f.passed, f.brought = maps.Clone(f.passed), maps.Clone(f.brought)
	f.breakers, f.guards = maps.Clone(f.breakers), maps.Clone(f.guards)
	return f
}

func (fs flows) clone() flows {
	out := make(flows, len(fs))
	for groups, f := range fs {
		out[groups] = f.clone()
	}
	return out
}

// add merges f into the way that has satisfied groups. fresh makes an epoch for
// ways that were rewritten differently.
func (fs flows) add(groups string, f flow, fresh func() int) {
	have, ok := fs[groups]
	if !ok {
		fs[groups] = f.clone()
		return
	}
	for c, decided := range f.passed {
		have.passed[c] = cmp.Or(have.passed[c], decided)
	}
	for name, b := range f.brought {
		have.brought[name] = b.union(have.brought[name])
	}
	for b, p := range f.breakers {
		if before, ok := have.breakers[b]; ok {
			p = p.least(before)
		}
		have.breakers[b] = p
	}
	maps.Copy(have.guards, f.guards)
	if have.epoch != f.epoch {
		have.epoch = fresh()
	}
	fs[groups] = have
}

// join merges all of other into fs. Beyond maxFlows the groups are forgotten,
// which only makes more ways appear possible.
func (fs flows) join(other flows, fresh func() int) flows {
	out := fs.clone()
	for _, groups := range sortedKeys(other) {
		out.add(groups, other[groups], fresh)
	}
	if len(out) <= maxFlows {
		return out
	}
	one := make(flows)
	for _, groups := range sortedKeys(out) {
		one.add("", out[groups], fresh)
	}
	return one
}

// split parts the ways that may enter a route of group from those that must
// pass it by. Routes without a group may always be entered.
func (fs flows) split(group string) (enter, pass flows) {
	enter, pass = make(flows), make(flows)
	for groups, f := range fs {
		if satisfied(groups, group) {
			pass[groups] = f.clone()
		} else {
			enter[groups] = f.clone()
		}
	}
	return enter, pass
}

// satisfy adds group to all ways.
func (fs flows) satisfy(group string) flows {
	if group == "" {
		return fs.clone()
	}
	out := make(flows, len(fs))
	for groups, f := range fs {
		names := append(groupNames(groups), group)
		slices.Sort(names)
		out[strings.Join(names, "\x00")] = f.clone()
	}
	return out
}

// forget removes groups from all ways.
func (fs flows) forget(groups map[string]bool, fresh func() int) flows {
	out := make(flows, len(fs))
	for _, key := range sortedKeys(fs) {
		names := slices.DeleteFunc(groupNames(key), func(name string) bool { return groups[name] })
		out.add(strings.Join(names, "\x00"), fs[key], fresh)
	}
	return out
}

// decide marks what was decided behind some caches, on all ways.
func (fs flows) decide(by map[*cache]string) flows {
	out := fs.clone()
	for _, f := range out {
		for c := range f.passed {
			f.passed[c] = cmp.Or(f.passed[c], by[c])
		}
	}
	return out
}

// undecide takes back what decide did since before.
func (fs flows) undecide(before flows) flows {
	out := fs.clone()
	for groups, f := range out {
		for c, decided := range before[groups].passed {
			if _, ok := f.passed[c]; ok {
				f.passed[c] = decided
			}
		}
	}
	return out
}

// epoch returns the epoch of all ways, or a fresh one when they differ.
func (fs flows) epoch(fresh func() int) int {
	epoch, first := 0, true
	for _, f := range fs {
		if !first && f.epoch != epoch {
			return fresh()
		}
		epoch, first = f.epoch, false
	}
	return epoch
}

// satisfied reports whether the group is among groups, which are joined by NUL.
func satisfied(groups, group string) bool {
	return group != "" && slices.Contains(groupNames(groups), group)
}

func groupNames(groups string) []string {
	if groups == "" {
		return nil
	}
	return strings.Split(groups, "\x00")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
