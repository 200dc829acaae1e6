package audit

import "time"

// Event is a decision about a request or its response.
type Event struct {
	Time      time.Time `json:"time"`
	Firewall  string    `json:"firewall"`
	RequestID string    `json:"request_id"`
	Client    string    `json:"client,omitempty"`
	Method    string    `json:"method"`
	Host      string    `json:"host"`
	// Path is the path of the request target, without its query.
	Path string `json:"path"`
	// Action is what was done: block, shadow (it would have been blocked), log, allow,
	// bypass_cache or limit.
	Action string `json:"action"`
	// Rule is the id of the rule that is the reason.
	Rule string `json:"rule_id"`
	// Phase is request or response.
	Phase  string `json:"phase"`
	Status int    `json:"status,omitempty"`
	// Score is the one that counted, and Threshold the one from which on it blocks. 0:
	// scores had no part in it.
	Score     int `json:"score,omitempty"`
	Threshold int `json:"threshold,omitempty"`
	// Findings are all rules that found something, MaxFindings at most.
	Findings []Finding `json:"findings,omitempty"`
	// Omitted is how many findings there were besides.
	Omitted int `json:"findings_omitted,omitempty"`
}

// MaxFindings is how many findings an event tells.
const MaxFindings = 32

// Finding is a rule that found something.
type Finding struct {
	Rule     string   `json:"rule_id"`
	Message  string   `json:"message,omitempty"`
	Tags     []string `json:"tags,omitempty"`
	Severity string   `json:"severity,omitempty"`
	Paranoia int      `json:"paranoia,omitempty"`
	// Mode is enforce or shadow.
	Mode string `json:"mode,omitempty"`
	// Variable is where it was found, such as ARGS:q.
	Variable string `json:"variable,omitempty"`
	// Excerpt is what was found, MaxExcerpt bytes at most, or Redacted.
	Excerpt string `json:"excerpt,omitempty"`
}

// Add adds a finding, unless there are enough.
func (e *Event) Add(f Finding) {
	if len(e.Findings) >= MaxFindings {
		e.Omitted++
		return
	}
	e.Findings = append(e.Findings, f)
}
