package crs

import (
	"net/http"
	"slices"
	"strings"

	"github.com/corazawaf/coraza/v3/types"
)

// Verdict is what the rules make of a request, or of a response.
type Verdict struct {
	// Blocked: a rule ended the evaluation.
	Blocked bool
	// Status is the one that this rule wants, 400 to 599. 0: it names none, or is of the
	// rule set itself.
	Status int
	// Rule is the one that is told as the reason: the gravest one of those that scored,
	// or the one that ended the evaluation. 0: none.
	Rule int
	// Matches are the rules that found something, in order, without those that only add
	// up scores.
	Matches []Match
	// Inbound and Outbound are the scores that count. The others are those of the
	// levels that are only reported too.
	Inbound, Outbound                   int
	InboundDetection, OutboundDetection int
	// Err: the engine could not do all of its work.
	Err error
}

// Match is a rule that found something.
type Match struct {
	Rule     int
	Message  string
	Tags     []string // must not be changed
	Severity string
	// Paranoia is the level of the rule, 0 if it has none.
	Paranoia int
	Phase    int
	// Variable and Key say where: ARGS and q. Value is what was there, whole and not
	// redacted.
	Variable, Key, Value string
	// Data is what the rule tells about it, not redacted either.
	Data string
	// Count is in how many places it found something.
	Count int
}

// logged is what matched rules know beside their interface.
type logged interface{ Log() bool }

func (s *Session) verdict() Verdict {
	v := Verdict{
		Inbound: s.score("blocking_inbound_anomaly_score"), InboundDetection: s.score("detection_inbound_anomaly_score"),
		Outbound: s.score("blocking_outbound_anomaly_score"), OutboundDetection: s.score("detection_outbound_anomaly_score"),
	}
	it := s.tx.Interruption()
	if it != nil {
		v.Blocked, v.Status, v.Rule = true, s.engine.status(it), it.RuleID
	}
	gravest := types.RuleSeverityUnset
	reason, scored := 0, false
	for _, m := range s.tx.MatchedRules() {
		rule := m.Rule()
		if l, ok := m.(logged); ok && !l.Log() || bookkeeping(rule.ID()) || rule.ID() == 0 {
			continue
		}
		match := newMatch(m)
		v.Matches = append(v.Matches, match)
		severity := rule.Severity()
		if severity == types.RuleSeverityUnset {
			continue
		}
		// What is only reported comes behind all that has a part in the score.
		scores := match.Paranoia <= s.engine.paranoia
		if reason == 0 || scores && !scored || scores == scored && severity < gravest {
			gravest, reason, scored = severity, rule.ID(), scores
		}
	}
	if reason != 0 && (v.Rule == 0 || bookkeeping(v.Rule)) {
		v.Rule = reason
	}
	return v
}

func newMatch(m types.MatchedRule) Match {
	rule := m.Rule()
	out := Match{Rule: rule.ID(), Message: m.Message(), Data: m.Data(), Tags: rule.Tags(), Phase: int(rule.Phase())}
	if rule.Severity() != types.RuleSeverityUnset {
		out.Severity = rule.Severity().String()
	}
	out.Paranoia = paranoia(out.Tags)
	found := m.MatchedDatas()
	out.Count = len(found)
	// Of a chain the first variable that came with the request decides, best one that an
	// exception can name: what follows is made of it.
	best := 0
	for _, d := range found {
		name := d.Variable().Name()
		if rank := rankOf(d); rank > best {
			best = rank
			out.Variable, out.Key, out.Value = name, d.Key(), d.Value()
		}
	}
	return out
}

// rankOf is how well a variable says where something was found.
func rankOf(d types.MatchData) int {
	name := d.Variable().Name()
	switch {
	case name == "" || name == "UNKNOWN":
		return 0
	case name == "TX" || strings.HasPrefix(name, "MATCHED_VAR"):
		return 1
	case collectionBits[d.Variable()] != 0:
		return 3
	}
	return 2
}

// status is the one that a rule of an included file wants.
func (e *Engine) status(it *types.Interruption) int {
	if it.Status < 400 || it.Status > 599 {
		return 0
	}
	i, ok := slices.BinarySearchFunc(e.rules, it.RuleID, func(r Rule, id int) int { return r.ID - id })
	if !ok || it.RuleID >= idSetup {
		return 0
	}
	r := &e.rules[i]
	if _, embedded := embeddedName(r.File); embedded {
		return 0
	}
	// The engine says 403 of rules that name no status.
	if it.Status == http.StatusForbidden && !r.status {
		return 0
	}
	return it.Status
}
