package edge_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgewaf/crs"
)

// TestWafWordsAreDocumented wants the events, what they carry, the placeholders, the
// fields of the logs, the outcomes, and the reasons of the firewall itself on the pages of
// edge_waf.
func TestWafWordsAreDocumented(t *testing.T) {
	code, text := sources(t, "edgewaf/waf*.go"), page(t, "docs/edge_waf.md")
	requireAll(t, text, code, `(?m)^const event\w+ += "(\w+)"`, 1)
	for _, data := range regexp.MustCompile(`(?m)^const event\w+ .*// data: (.*)$`).FindAllStringSubmatch(code, -1) {
		requireAll(t, text, data[1], `(\w+)`, 6)
	}
	requireAll(t, text, code, `reqinfo\.Log\([^"\n]*"(\w+)"`, 2)
	requireAll(t, text, code, `(?m)^\tact\w+ += "(\w+)"`, 5)
	for _, name := range []string{"rule_id", "action", "phase", "score", "request_id"} {
		require.Contains(t, code, `case "`+name+`":`)
		require.Contains(t, tables(text), "| `{http.edge_waf."+name+"}` |")
	}
	failures := regexp.MustCompile(`(?s)failures = .*?\{\n(.*?)\n\}`).FindStringSubmatch(code)
	require.NotNil(t, failures)
	requireAll(t, text, failures[1], `"([\w-]+)":`, 4)
	outcomes := regexp.MustCompile(`outcomeNames = .*?\{([^}]*)\}`).FindStringSubmatch(code)
	require.NotNil(t, outcomes)
	requireAll(t, page(t, "docs/metrics.md"), outcomes[1], `"(\w+)"`, 10)
	for _, name := range crs.PresetNames() {
		require.Contains(t, tables(text), "| `"+name+"` |")
	}
	require.Len(t, crs.PresetNames(), strings.Count(tables(text), "\n| `rest` |")+3)
}

// TestWafRepliesAreDocumented wants the fields of the replies and requests of the
// firewall's admin routes in the examples of their page.
func TestWafRepliesAreDocumented(t *testing.T) {
	text := page(t, "docs/admin-api.md")
	for _, file := range []string{"edgewaf/waf_admin.go", "edgewaf/audit/event.go", "edgewaf/crs/engine.go"} {
		fields := regexp.MustCompile("json:\"(\\w+)").FindAllStringSubmatch(page(t, file), -1)
		require.NotEmpty(t, fields)
		for _, m := range fields {
			requireText(t, text, "[`\"]"+m[1]+"[`\"]")
		}
	}
}
