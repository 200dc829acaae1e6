package edge_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/api"
	"github.com/caddyedge/caddy-edge/internal/mmdbtest"
)

// accessFiles writes the files that the page of edge_guard names, and returns pairs of
// names there and here.
func accessFiles(t *testing.T) (pairs []string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"denied.txt":   []byte("# nobody\n"),
		"asn.mmdb":     mmdbtest.Build("Test", mmdbtest.Networks{"192.0.2.0/24": mmdbtest.ASN(64500)}),
		"country.mmdb": mmdbtest.Build("Test", mmdbtest.Networks{"192.0.2.0/24": mmdbtest.Country("DE")}),
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		pairs = append(pairs, "/etc/caddy/"+name, path)
	}
	return pairs
}

// TestGuardWordsAreDocumented wants the events, what they carry, the placeholders, and the
// fields of the logs on the page of edge_guard, and its checks with their defaults and
// statuses in the table.
func TestGuardWordsAreDocumented(t *testing.T) {
	code, text := sources(t, "edgewaf/guard_*.go"), page(t, "docs/edge_guard.md")
	requireAll(t, text, code, `(?m)^const event\w+ += "(\w+)"`, 2)
	for _, data := range regexp.MustCompile(`(?m)^const event\w+ .*// data: (.*)$`).FindAllStringSubmatch(code, -1) {
		requireAll(t, text, data[1], `(\w+)`, 2)
	}
	requireAll(t, text, code, `reqinfo\.Log\([^"\n]*"(\w+)"`, 5)
	for _, name := range []string{"request_id", "client_masked", "check"} {
		require.Contains(t, code, `case "`+name+`":`)
		require.Contains(t, tables(text), "| `{http.edge_guard."+name+"}` |")
	}
	ids := regexp.MustCompile(`(?m)^\tcheck\w+: +\{"(\w+)", level(\w+),`).FindAllStringSubmatch(code, -1)
	var rows []string
	for _, m := range ids {
		rows = append(rows, "| `"+m[1]+"` | "+strings.ToLower(m[2])+" |")
	}
	require.Len(t, rows, 24)
	require.Equal(t, rows, regexp.MustCompile("(?m)^\\| `\\w+` \\| (?:enforce|shadow|off) \\|").FindAllString(text, -1))
	for _, action := range []string{"refused", "shadow", "repaired", "closed"} {
		requireText(t, page(t, "docs/metrics.md"), "`"+action+"`")
	}
}

// TestGuardRepliesAreDocumented wants the fields of the replies and requests of the guard's
// admin routes in the examples of their page.
func TestGuardRepliesAreDocumented(t *testing.T) {
	text := page(t, "docs/admin-api.md")
	fields := regexp.MustCompile("json:\"(\\w+)").FindAllStringSubmatch(page(t, "edgewaf/guard_admin.go"), -1)
	require.Greater(t, len(fields), 25)
	for _, m := range fields {
		requireText(t, text, "[`\"]"+m[1]+"[`\"]")
	}
	provision(t, "Caddyfile", ":8080 {\n\tedge_guard\n}\n")
	recorder := httptest.NewRecorder()
	require.NoError(t, api.Handler("/edge/guard/lists").ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/edge/guard/lists", nil)))
	require.Contains(t, recorder.Body.String(), `"lists":`)
}
