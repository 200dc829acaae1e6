package crs

import (
	"github.com/corazawaf/coraza/v3/types"
)

// Verdict is what the rules make of a request, or of a response.
type Verdict struct {
	// Blocked: a rule ended the evaluation.
	Blocked bool
	// Status is the one that this rule wants, 0 if it names none.
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
		v.Blocked, v.Status, v.Rule = true, it.Status, it.RuleID
	}
	gravest := types.RuleSeverityUnset
	reason := 0
	for _, m := range s.tx.MatchedRules() {
		rule := m.Rule()
		if l, ok := m.(logged); ok && !l.Log() || bookkeeping(rule.ID()) || rule.ID() == 0 {
			continue
		}
		match := newMatch(m)
		v.Matches = append(v.Matches, match)
		if severity := rule.Severity(); severity != types.RuleSeverityUnset && (reason == 0 || severity < gravest) {
			gravest, reason = severity, rule.ID()
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
	// Of a chain the last variable is the one that decided.
	for _, d := range found {
		if d.Variable().Name() != "" && (out.Variable == "" || d.ChainLevel() > 0) {
			out.Variable, out.Key, out.Value = d.Variable().Name(), d.Key(), d.Value()
		}
	}
	return out
}
