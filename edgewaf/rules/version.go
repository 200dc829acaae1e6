package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/coreos/go-semver/semver"
	"go.yaml.in/yaml/v3"
)

// Requirement is what a pack wants of something that it is used with.
type Requirement struct {
	// Of is what must have a version, such as "edge" or "crs".
	Of string
	// Versions are those that are wanted, as written, such as ">=4.25.0, <5.0.0".
	Versions string

	line        int
	comparisons []comparison
}

// comparison is one of the conditions of a requirement.
type comparison struct {
	holds   func(compared int) bool
	version semver.Version
}

// operators in an order in which none is hidden by the beginning of another.
var operators = []struct {
	sign  string
	holds func(compared int) bool
}{
	{">=", func(c int) bool { return c >= 0 }},
	{"<=", func(c int) bool { return c <= 0 }},
	{">", func(c int) bool { return c > 0 }},
	{"<", func(c int) bool { return c < 0 }},
	{"=", func(c int) bool { return c == 0 }},
}

// parseVersion reads a semantic version (semver.org), all three numbers of it.
func parseVersion(text string) (*semver.Version, error) {
	v, err := semver.NewVersion(text)
	if err != nil || len(text) > maxName {
		return nil, fmt.Errorf("invalid version %q: want one such as 1.2.0", shorten(text))
	}
	return v, nil
}

// parseComparisons reads a list such as ">=1.2.0, <2.0.0", all of which must hold.
func parseComparisons(text string) (list []comparison, err error) {
next:
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		for _, op := range operators {
			if rest, ok := strings.CutPrefix(part, op.sign); ok {
				v, err := parseVersion(strings.TrimSpace(rest))
				if err != nil {
					return nil, err
				}
				list = append(list, comparison{op.holds, *v})
				continue next
			}
		}
		return nil, fmt.Errorf("invalid value %q: want versions behind >=, >, <, <= or =, such as >=1.2.0, <2.0.0", shorten(part))
	}
	return list, nil
}

// requirements reads the field requires of a pack.
func (s *source) requirements(n *yaml.Node) (list []Requirement) {
	s.each(n, "requires: ", func(of string, value *yaml.Node) bool {
		text, ok := s.text("requires: "+shorten(of), value)
		if !ok {
			return true
		}
		comparisons, err := parseComparisons(text)
		if err != nil {
			s.fault(value, "requires: %s: %v", shorten(of), err)
			return true
		}
		list = append(list, Requirement{of, text, value.Line, comparisons})
		return true
	})
	slices.SortFunc(list, func(a, b Requirement) int { return cmp.Compare(a.Of, b.Of) })
	return list
}

// satisfied compares the requirements of a pack with what there is. What has no version
// there satisfies none.
func (p *Pack) satisfied(versions map[string]string) error {
	for _, r := range p.Requires {
		where := fmt.Sprintf("%s:%d: pack %s requires %s %s", p.File, r.line, p.Name, r.Of, r.Versions)
		text, ok := versions[r.Of]
		if !ok {
			return fmt.Errorf("%s, which is not there", where)
		}
		have, err := parseVersion(text)
		if err != nil {
			return fmt.Errorf("%s: what is there has an %w", where, err)
		}
		for _, c := range r.comparisons {
			if !c.holds(have.Compare(c.version)) {
				return fmt.Errorf("%s, but %s is there", where, have)
			}
		}
	}
	return nil
}

// NoDowngrade refuses to follow one set by another that has a lower version of a pack of
// the same name, or that pack without a version. Packs without a name are not compared.
func NoDowngrade(running, next *Set) error {
	for _, p := range next.Packs() {
		if p.Name == "" {
			continue
		}
		for _, old := range running.Packs() {
			if old.Name != p.Name || old.version == nil {
				continue
			}
			if p.version == nil {
				return fmt.Errorf("%s:%d: pack %s has no version, and %s is running", p.File, p.line, p.Name, old.Version)
			}
			if p.version.LessThan(*old.version) {
				return fmt.Errorf("%s:%d: pack %s %s is older than %s, which is running", p.File, p.line, p.Name, p.Version, old.Version)
			}
		}
	}
	return nil
}
