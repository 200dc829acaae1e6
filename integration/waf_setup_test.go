package integration

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
)

// wafEvent is what the log says of a decision.
type wafEvent struct {
	RequestID string `json:"request_id"`
	Phase     string `json:"phase"`
	Action    string `json:"action"`
	Rule      string `json:"rule_id"`
	Score     int    `json:"score"`
	Threshold int    `json:"threshold"`
	Omitted   int    `json:"findings_omitted"`
	Findings  []struct {
		Rule     string `json:"rule_id"`
		Message  string `json:"message"`
		Variable string `json:"variable"`
		Excerpt  string `json:"excerpt"`
	} `json:"findings"`
}

// wafStatus is what the admin API says of firewalls.
type wafStatus struct {
	Firewalls []struct {
		Name     string
		Mode     string
		Requests map[string]uint64
		RuleSet  string `json:"rule_set"`
		Events   uint64
	}
	RuleSets []struct {
		Key   string `json:"rule_set"`
		Rules int
		Bytes int64
	} `json:"rule_sets"`
}

func wafStatusOf(t *testing.T, e *harness.Edge) (status wafStatus) {
	t.Helper()
	code, body := e.Admin(http.MethodGet, "/edge/waf/status", nil)
	require.Equal(t, http.StatusOK, code, string(body))
	require.NoError(t, json.Unmarshal(body, &status))
	return status
}

// wafEvents returns the latest events of the firewall named default, the newest first.
func (c *cachedEdge) wafEvents() []wafEvent {
	c.t.Helper()
	var reply struct{ Events []wafEvent }
	c.ask("/edge/waf/events", &reply)
	return reply.Events
}

// waffedSite is one site with edge_waf, or whatever is given, in front of the origin, and
// more directives between.
const waffedSite = `
	{
		servers {
			protocols h1 h2 h2c h3
		}
	}
	{{http "site"}}, http://:{{port "site"}}, {{https "secure"}} {
		log
		{{.waf}}
		{{.more}}
		reverse_proxy {{.origin}}
	}
`

// startWaffed starts a site with the given directives. The origin answers all paths that a
// test doesn't script.
func startWaffed(t *testing.T, waf, more string) *cachedEdge {
	t.Helper()
	c := startCaddyfile(t, waffedSite, harness.Vars{"waf": waf, "more": more})
	c.origin.Handle("*", text("ok"))
	return c
}

// attack is a query that the rules are against by default.
const attack = "?q=1%27%20union%20select%20password%20from%20users--%20-"
