package edge_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgelimit/adaptive"
	"github.com/caddyedge/caddy-edge/edgelimit/ratefile"
)

// source returns the code of a package without its tests.
func source(t *testing.T, dir string) string {
	t.Helper()
	return sources(t, dir+"/*.go")
}

// sources returns the code of files, without tests.
func sources(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	require.NoError(t, err)
	var text strings.Builder
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			text.WriteString(page(t, file))
		}
	}
	return text.String()
}

// limiterPages are the pages of the two directives of package edgelimit.
func limiterPages(t *testing.T) string {
	return page(t, "docs/edge_limit.md") + page(t, "docs/edge_adaptive.md")
}

// requireAll wants each first group of pattern in text on a page, as code.
func requireAll(t *testing.T, documented, text, pattern string, atLeast int) {
	t.Helper()
	found := regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1)
	require.GreaterOrEqual(t, len(found), atLeast, pattern)
	for _, m := range found {
		requireText(t, documented, "`"+regexp.QuoteMeta(m[1])+"`")
	}
}

// TestLimiterWordsAreDocumented wants the events, what they carry, the
// placeholders, the fields of the logs, and the reasons of edge_limit on the pages.
func TestLimiterWordsAreDocumented(t *testing.T) {
	code, pages := source(t, "edgelimit"), limiterPages(t)
	requireAll(t, pages, code, `(?m)^const event\w+ += "(\w+)"`, 3)
	for _, data := range regexp.MustCompile(`(?m)^const event\w+ .*// data: (.*)$`).FindAllStringSubmatch(code, -1) {
		requireAll(t, pages, data[1], `(\w+)`, 1)
	}
	requireAll(t, pages, code, `(?:extra\.Set\(zap\.\w+\(|reqinfo\.Log\([^"\n]*)"(\w+)"`, 4)
	placeholders := regexp.MustCompile(`"(http\.edge_(?:limit|adaptive)\.\w+)"`).FindAllStringSubmatch(code, -1)
	require.GreaterOrEqual(t, len(placeholders), 5)
	for _, m := range placeholders {
		require.Contains(t, tables(pages), "| `{"+m[1]+"}` |")
	}
	reasons := regexp.MustCompile(`\[reasons\]string\{([^}]*)\}`).FindStringSubmatch(code)
	require.NotNil(t, reasons)
	requireAll(t, page(t, "docs/edge_limit.md"), reasons[1], `"(\w+)"`, 3)
	requireAll(t, page(t, "docs/metrics.md"), reasons[1], `"(\w+)"`, 3)
}

// TestAdaptiveWordsAreDocumented wants the reasons, states and classes of
// edge_adaptive on its page.
func TestAdaptiveWordsAreDocumented(t *testing.T) {
	text := tables(page(t, "docs/edge_adaptive.md"))
	n := 0
	for reason := adaptive.Admitted + 1; reason.String() != "unknown"; reason++ {
		requireText(t, text, "`"+reason.String()+"`")
		n++
	}
	for state := adaptive.StateNormal; state.String() != "unknown"; state++ {
		requireText(t, text, "`"+state.String()+"`")
		n++
	}
	for class := adaptive.Normal; class.String() != "unknown"; class++ {
		requireText(t, text, "`"+class.String()+"`")
		n++
	}
	require.Equal(t, 7+4+4, n)
}

// TestRepliesAreDocumented wants the fields of the replies and requests of the
// limiters' admin routes in the examples or tables of their page.
func TestRepliesAreDocumented(t *testing.T) {
	text := page(t, "docs/admin-api.md")
	fields := regexp.MustCompile("json:\"(\\w+)").FindAllStringSubmatch(page(t, "edgelimit/admin.go")+page(t, "edgelimit/adaptive_metrics.go")+page(t, "edgelimit/redis/stats.go"), -1)
	require.Greater(t, len(fields), 40)
	for _, m := range fields {
		requireText(t, text, "[`\"]"+m[1]+"[`\"]")
	}
}

// TestRulesAreDocumented reads the YAML rules on the page of edge_limit, and wants
// each field of the format in a table.
func TestRulesAreDocumented(t *testing.T) {
	text := page(t, "docs/edge_limit.md")
	for _, block := range fences(text) {
		if block.language == "yaml" {
			file, err := ratefile.Parse([]byte(block.code))
			require.NoError(t, err)
			require.Len(t, file.Rules, 2)
		}
	}
	fields := regexp.MustCompile("yaml:\"(\\w+)").FindAllStringSubmatch(page(t, "edgelimit/ratefile/file.go"), -1)
	require.Greater(t, len(fields), 9)
	for _, m := range fields {
		if m[1] != "rules" {
			requireText(t, tables(text), "`(exemptions\\.)?"+m[1]+"[.`]")
		}
	}
}

// rulesFile writes the YAML rules of a page, if it has any, into a file.
func rulesFile(t *testing.T, blocks []fence) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "limits.yaml")
	for _, block := range blocks {
		if block.language == "yaml" {
			require.NoError(t, os.WriteFile(name, []byte(block.code), 0o600))
		}
	}
	return name
}
