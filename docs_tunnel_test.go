package edge_test

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
)

// TestTunnelSyntaxIsDocumented holds the grammars of the proxy's and the agent's blocks on
// the page equal to those of the parsers.
func TestTunnelSyntaxIsDocumented(t *testing.T) {
	text, shown := page(t, "docs/tunnel.md"), make(map[string]bool)
	for _, block := range fences(page(t, "docs/tunnel.md")) {
		shown[block.code] = block.language == ""
	}
	for _, m := range regexp.MustCompile(`(?m)^// \w+ (?:sets up|parses) .*Syntax:\n//\n((?://\t.*\n|//\n)+)`).FindAllStringSubmatch(source(t, "edgetunnel"), -1) {
		grammar := regexp.MustCompile(`(?m)^//\t?`).ReplaceAllString(m[1], "")
		require.True(t, shown[grammar], "not on the page:\n%s", grammar)
		for _, option := range regexp.MustCompile(`(?m)^\t+([a-z]\w*)`).FindAllStringSubmatch(grammar, -1) {
			requireText(t, tables(text), "`"+option[1]+"`")
		}
	}
}

// TestTunnelWordsAreDocumented wants the events, reasons, statuses and flags on the page.
func TestTunnelWordsAreDocumented(t *testing.T) {
	code, text := source(t, "edgetunnel"), page(t, "docs/tunnel.md")
	requireAll(t, text, code, `(?m)^\tevent\w+ += "(\w+)"`, 3)
	for _, data := range regexp.MustCompile(`(?m)^\tevent\w+ .*// data: (.*)$`).FindAllStringSubmatch(code, -1) {
		requireAll(t, text, data[1], `(\w+)`, 3)
	}
	requireAll(t, text, code, `(?m)^\treason\w+ += "(\w+)"`, 9)
	requireAll(t, text, source(t, "edgetunnel/hub"), `(?m)^\t\w+ +Reason = "(\w+)"`, 4)
	for s := wire.Accepted; s.Valid(); s++ {
		requireText(t, tables(text), "`"+s.String()+"`")
		if s != wire.Accepted {
			requireText(t, page(t, "docs/metrics.md"), "`"+s.String()+"`")
		}
	}
	for _, m := range regexp.MustCompile(`o\.\w+(?:\.\w+)?, "([a-z-]+)", `).FindAllStringSubmatch(code, -1) {
		requireText(t, tables(text), "`--"+m[1]+"`")
	}
	fields := regexp.MustCompile("json:\"(\\w+)").FindAllStringSubmatch(page(t, "edgetunnel/admin.go"), -1)
	require.Greater(t, len(fields), 20)
	for _, m := range fields {
		requireText(t, page(t, "docs/admin-api.md"), "[`\"]"+m[1]+"[`\"]")
	}
}
