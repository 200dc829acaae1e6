package edge_test

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// TestPolicySyntaxIsDocumented holds the grammar of lb_policy edge on the page equal
// to that of the parser.
func TestPolicySyntaxIsDocumented(t *testing.T) {
	text := page(t, "docs/edge_breaker.md")
	grammar := grammarOf(t, funcOf(t, "edgebreaker", "UnmarshalCaddyfile"))
	require.Equal(t, fence{"", grammar}, fences(text)[1])
	for _, word := range []string{"weights", "upstreams deny", "upstreams allow_loopback", "upstreams pin"} {
		requireText(t, tables(text), "`"+word+"`")
	}
}

// TestBreakerWordsAreDocumented wants the states, reasons, events, placeholders,
// fields of logs and kinds of failures on the page.
func TestBreakerWordsAreDocumented(t *testing.T) {
	code, text := source(t, "edgebreaker"), page(t, "docs/edge_breaker.md")
	for _, state := range []breaker.State{breaker.Closed, breaker.Open, breaker.HalfOpen} {
		requireText(t, tables(text), "`"+state.String()+"`")
	}
	n := 0
	for reason := breaker.NoReason + 1; reason.String() != "unknown"; reason++ {
		requireText(t, text, "`"+reason.String()+"`")
		n++
	}
	require.Equal(t, 7, n)
	requireAll(t, text, code, `(?m)^\tevent\w+ += "(\w+)"`, 3)
	for _, data := range regexp.MustCompile(`(?m)^\tevent\w+ .*// data: (.*)$`).FindAllStringSubmatch(code, -1) {
		requireAll(t, text, data[1], `(\w+)`, 3)
	}
	for _, m := range regexp.MustCompile(`"(http\.edge_breaker\.\w+)"`).FindAllStringSubmatch(code, -1) {
		require.Contains(t, tables(text), "| `{"+m[1]+"}` |")
	}
	requireAll(t, text, code, `(?:extra\.Set\(zap\.\w+\(|reqinfo\.Log\([^"\n]*)"(\w+)"`, 1)
	for _, list := range []string{`failureNames = .*?\{([^}]*)\}`, `reasonNames = .*?\{([^}]*)\}`} {
		words := regexp.MustCompile(list).FindStringSubmatch(code)
		require.NotNil(t, words)
		requireAll(t, tables(text), words[1], `"(\w+)"`, 4)
	}
	for _, list := range []string{`endingNames = .*?\{([^}]*)\}`, `failureNames = .*?\{([^}]*)\}`, `reasonNames = .*?\{([^}]*)\}`} {
		requireAll(t, page(t, "docs/metrics.md"), regexp.MustCompile(list).FindStringSubmatch(code)[1], `"(\w+)"`, 4)
	}
}

// TestBreakerRepliesAreDocumented wants the fields of the admin routes on their
// page.
func TestBreakerRepliesAreDocumented(t *testing.T) {
	text := page(t, "docs/admin-api.md")
	fields := regexp.MustCompile("json:\"(\\w+)").FindAllStringSubmatch(page(t, "edgebreaker/admin.go"), -1)
	require.Greater(t, len(fields), 20)
	for _, m := range fields {
		requireText(t, text, "[`\"]"+m[1]+"[`\"]")
	}
}
