package crs

import (
	"regexp"
	"slices"
	"strings"

	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"
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

	// looks are the collections that it may look at.
	looks collections
	// status: it names the status that it blocks with.
	status bool
}

// collections is a set of those that exceptions can be about.
type collections uint8

// collectionBits are their places in the set.
var collectionBits = map[variables.RuleVariable]collections{
	variables.Args: 1, variables.ArgsGet: 2, variables.ArgsPost: 4, variables.RequestCookies: 8, variables.RequestHeaders: 16,
}

// allCollections is the set of all.
const allCollections collections = 31

func (c collections) has(v variables.RuleVariable) bool { return c&collectionBits[v] != 0 }

var collectionName = regexp.MustCompile(`(?i)\b(ARGS|ARGS_GET|ARGS_POST|REQUEST_COOKIES|REQUEST_HEADERS)\b`)

// chains reports whether a rule has further ones, whose sources are not known.
var chains = regexp.MustCompile(`(?i)[",\s]chain\b`)

// looksOf finds the collections that a rule may look at in its source.
func looksOf(raw string) (c collections) {
	if chains.MatchString(raw) {
		return allCollections
	}
	// The variables are in front of the operator, which is in quotation marks.
	text := strings.TrimSpace(raw)
	if i := strings.IndexByte(text, '"'); i > 0 && len(strings.Fields(text[:i])) > 1 {
		text = text[:i]
	}
	for _, name := range collectionName.FindAllString(text, -1) {
		if v, err := variables.Parse(name); err == nil {
			c |= collectionBits[v]
		}
	}
	return c
}

func newRule(r types.RuleMetadata) Rule {
	out := Rule{ID: r.ID(), Tags: slices.Clone(r.Tags()), Phase: int(r.Phase()), File: r.File(), Message: message(r.Raw())}
	if r.Severity() != types.RuleSeverityUnset {
		out.Severity = r.Severity().String()
	}
	out.Paranoia = paranoia(out.Tags)
	out.looks, out.status = looksOf(r.Raw()), namesStatus.MatchString(r.Raw())
	return out
}

var namesStatus = regexp.MustCompile(`(?i)[",\s]status:`)

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
