package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
)

// TestRefusedResponsesAreWhole: what the origin must not say becomes a refusal that arrives
// whole, whatever the proxy is still writing.
func TestRefusedResponsesAreWhole(t *testing.T) {
	t.Parallel()
	pack := filepath.Join(t.TempDir(), "pack.yaml")
	require.NoError(t, os.WriteFile(pack, []byte(`
mode: enforce
rules:
  - {id: server-error, phase: response, match: {any: [{status: 5xx}]}, action: {type: block, status_code: 502}}
`), 0o600))
	const leak = "<p>You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version for the right syntax to use near ''' at line 1</p>"
	for name, errors := range map[string]string{"direct": "", "error routes": "handle_errors {\nrespond \"{err.status_code} {http.edge_waf.rule_id}\"\n}"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startCaddyfile(t, `
				{{http "plain"}}, {{https "secure"}} {
					edge_waf {
						rules {{.pack}}
						response 64KiB
					}
					reverse_proxy {{.origin}}
					{{.errors}}
				}
			`, harness.Vars{"pack": pack, "errors": errors})
			c.origin.Handle("/leak", text(leak, "Content-Type: text/html"))
			c.origin.Handle("/long", text(leak+strings.Repeat("word ", 200000), "Content-Type: text/html"))
			broken := text(strings.Repeat("broken ", 100000), "Content-Type: application/x-other")
			broken.Status = http.StatusInternalServerError
			c.origin.Handle("/broken", broken)
			check := func(t *testing.T, p harness.Proto, site string) {
				for target, want := range map[string]struct {
					status int
					rule   string
				}{"/leak": {403, "951"}, "/long": {403, "951"}, "/broken": {502, "server-error"}} {
					got := c.Do(p, http.MethodGet, c.URL(site)+target, "")
					require.Equal(t, want.status, got.Status, target)
					require.Contains(t, string(got.Body), want.rule, target)
					require.NotContains(t, string(got.Body), "SQL")
					require.NotContains(t, string(got.Body), "broken ")
					require.Less(t, len(got.Body), 200)
				}
			}
			check(t, harness.H1, "plain")
			harness.EachTLS(t, func(t *testing.T, p harness.Proto) { check(t, p, "secure") })
		})
	}
}
