package crs

import (
	"slices"
	"strings"

	"github.com/corazawaf/coraza/v3/types"
)

// Rule describes a rule of a set.
type Rule struct {
	ID       int      `json:"id"`
	Message  string   `json:"message,omitempty"`
	Tags     []string `json:"tags,omitempty"`
	Severity string   `json:"severity,omitempty"`
	Phase    int      `json:"phase"`
	Paranoia int      `json:"paranoia,omitempty"`
	File     string   `json:"file,omitempty"`
}

func newRule(r types.RuleMetadata) Rule {
	out := Rule{ID: r.ID(), Tags: slices.Clone(r.Tags()), Phase: int(r.Phase()), File: r.File(), Message: message(r.Raw())}
	if r.Severity() != types.RuleSeverityUnset {
		out.Severity = r.Severity().String()
	}
	out.Paranoia = paranoia(out.Tags)
	return out
}

// paranoia is the level of a rule with those tags, 0 if it has none.
func paranoia(tags []string) int {
	for _, tag := range tags {
		if level, ok := strings.CutPrefix(tag, "paranoia-level/"); ok && len(level) == 1 {
			return int(level[0] - '0')
		}
	}
	return 0
}

// message finds the text of a rule in its source.
func message(raw string) string {
	_, rest, ok := strings.Cut(raw, "msg:'")
	if !ok {
		return ""
	}
	text, _, _ := strings.Cut(rest, "'")
	return text
}

// bookkeeping reports whether a rule of the set only adds up scores.
func bookkeeping(id int) bool {
	return id >= 949000 && id < 950000 || id >= 959000 && id < 960000 || id >= 980000 && id < 990000 || id >= 901000 && id < 902000
}
