package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/internal/mmdbtest"
)

// listed is a file that is put in the place of the one before.
func listed(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".next", []byte(content), 0o600))
	require.NoError(t, os.Rename(path+".next", path))
}

// from returns the status that a client of an address gets.
func (c *cachedEdge) from(address string, lines ...string) int {
	c.t.Helper()
	got, err := harness.Send(c.ClientFrom(address), c.request(http.MethodGet, "/page", lines...))
	require.NoError(c.t, err)
	return got.Status
}

// guardList is what the admin endpoint says of a file.
type guardList struct {
	File, Kind, Error string
	Entries           int
}

func (c *cachedEdge) guardLists() []guardList {
	c.t.Helper()
	var reply struct{ Lists []guardList }
	c.ask("/edge/guard/lists", &reply)
	return reply.Lists
}

func TestGuardListFileIsReadAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "denied.txt")
	listed(t, path, "# nobody\n")
	guard := "edge_guard {\ndeny file " + path + "\nrefresh 100ms\n}"
	c := startGuarded(t, guard, "")
	require.Equal(t, http.StatusOK, c.from("127.0.0.3"))
	listed(t, path, "127.0.0.3 # a client\n198.51.100.0/24\n")
	poll(t, "the list is in force", func() bool { return c.from("127.0.0.3") == http.StatusForbidden })
	require.Equal(t, http.StatusOK, c.from("127.0.0.4"))
	// The address is the client's: a header counts only from a trusted proxy.
	require.Equal(t, http.StatusForbidden, c.from("127.0.0.2", "X-Forwarded-For: 198.51.100.7"))
	require.Equal(t, http.StatusOK, c.from("127.0.0.4", "X-Forwarded-For: 198.51.100.7"))
	require.Equal(t, http.StatusForbidden, c.from("127.0.0.3", "X-Forwarded-For: 127.0.0.4"))

	listed(t, path, "127.0.0.3\n127.0.0.4\nnonsense\n")
	entry := c.WaitLog(func(e harness.Entry) bool {
		return e["msg"] == "a list can't be read: what was read before stays in force"
	})
	require.Equal(t, path+`: line 3: invalid address or CIDR "nonsense"`, entry["error"])
	require.Equal(t, http.StatusForbidden, c.from("127.0.0.3"))
	require.Equal(t, http.StatusOK, c.from("127.0.0.4"))
	lists := c.guardLists()
	require.Len(t, lists, 1)
	require.Equal(t, guardList{File: path, Kind: "list", Error: entry["error"].(string), Entries: 2}, lists[0])
	require.InDelta(t, 1, c.Metrics()[fmt.Sprintf(`caddy_edge_guard_list_failing{file=%q}`, path)], 0)

	// A configuration with a broken list is rejected, and the one before runs on.
	err := c.Reload(guardedSite, harness.Vars{"guard": guard})
	require.ErrorContains(t, err, path+": line 3: invalid address or CIDR")
	require.Equal(t, http.StatusForbidden, c.from("127.0.0.3"))

	listed(t, path, "127.0.0.4\n")
	poll(t, "the list is in force", func() bool { return c.from("127.0.0.4") == http.StatusForbidden })
	require.Equal(t, http.StatusOK, c.from("127.0.0.3"))
	require.Empty(t, c.guardLists()[0].Error)
	require.NoError(t, c.Reload(guardedSite, harness.Vars{"guard": "edge_guard"}))
	require.Empty(t, c.guardLists(), "a list that nobody uses is gone")
	require.Equal(t, http.StatusOK, c.from("127.0.0.4"))
}

func TestGuardASNAndCountry(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	asn, country := filepath.Join(dir, "asn.mmdb"), filepath.Join(dir, "country.mmdb")
	require.NoError(t, os.WriteFile(asn, mmdbtest.Build("Test-ASN", mmdbtest.Networks{"127.0.0.4/32": mmdbtest.ASN(64500)}), 0o600))
	require.NoError(t, os.WriteFile(country, mmdbtest.Build("Test-Country", mmdbtest.Networks{"127.0.0.4/31": mmdbtest.Country("DE")}), 0o600))
	c := startGuarded(t, "edge_guard {\ndeny country DE\nallow asn 64500\nasn_database "+asn+"\ncountry_database "+country+"\nrefresh 100ms\n}", "")
	require.Equal(t, http.StatusOK, c.from("127.0.0.3"))
	require.Equal(t, http.StatusOK, c.from("127.0.0.4"))
	require.Equal(t, http.StatusForbidden, c.from("127.0.0.5"))

	result := harness.Run(t, "edge", "guard", "lookup", "127.0.0.5", "--address", c.AdminAddr())
	require.Equal(t, "127.0.0.5 denied: deny country DE\n", result.Stdout, result.Stderr)
	result = harness.Run(t, "edge", "guard", "mode", "access", "shadow", "--address", c.AdminAddr())
	require.Equal(t, "default: access is in mode shadow\n", result.Stdout, result.Stderr)
	require.Equal(t, http.StatusOK, c.from("127.0.0.5"))
	require.NoError(t, c.Reload(guardedSite))
	require.Equal(t, http.StatusOK, c.from("127.0.0.5"), "an operator's mode holds over reloads")
	result = harness.Run(t, "edge", "guard", "mode", "access", "config", "--address", c.AdminAddr())
	require.Equal(t, "default: access is in mode enforce\n", result.Stdout, result.Stderr)
	require.Equal(t, http.StatusForbidden, c.from("127.0.0.5"))
	result = harness.Run(t, "edge", "guard", "checks", "--address", c.AdminAddr())
	require.Contains(t, result.Stdout, "default\taccess               enforce 4 found\n")
	require.NotZero(t, harness.Run(t, "edge", "guard", "mode", "nonsense", "off", "--address", c.AdminAddr()).ExitCode)
}

// TestGuardValidate has caddy validate name file and line of a broken list.
func TestGuardValidate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	list, config := filepath.Join(dir, "denied.txt"), filepath.Join(dir, "Caddyfile")
	require.NoError(t, os.WriteFile(config, []byte(":0 {\nedge_guard {\ndeny file "+list+"\n}\n}\n"), 0o600))
	for content, want := range map[string]string{
		"":                    "no such file or directory",
		"192.0.2.1\nx\n":      `denied.txt: line 2: invalid address or CIDR \"x\"`,
		"# fine\n192.0.2.1\n": "",
	} {
		if content != "" {
			require.NoError(t, os.WriteFile(list, []byte(content), 0o600))
		} else {
			_ = os.Remove(list)
		}
		result := harness.Run(t, "validate", "--adapter", "caddyfile", "--config", config)
		require.Equal(t, want == "", result.ExitCode == 0, result.Stderr)
		require.Contains(t, strings.ReplaceAll(result.Stderr, `"x"`, `\"x\"`), want)
	}
}

// TestGuardRefusals: what refusals look like, with and without error routes, and what is
// told of them.
func TestGuardRefusals(t *testing.T) {
	t.Parallel()
	c := startGuarded(t, "edge_guard {\nsecurity_headers\nmask_client\n}", "")
	for range 3 {
		got := c.do("TRACE", "/refused", "")
		require.Equal(t, http.StatusMethodNotAllowed, got.Status)
		require.Equal(t, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS", got.Header.Get("Allow"))
		require.JSONEq(t, `{"error":"method not allowed","check":"method","request_id":"`+got.Header.Get("X-Request-Id")+`"}`, string(got.Body))
		require.Equal(t, []string{"edge"}, got.Header.Values("Server"))
		require.Equal(t, "nosniff", got.Header.Get("X-Content-Type-Options"))
	}
	entry := c.WaitLog(isAccess("/refused"))
	require.Equal(t, "method", entry["edge_guard"])
	require.NotEmpty(t, entry["edge_guard_request_id"])
	require.Equal(t, "127.0.0.0", entry["edge_guard_client"])
	fault := func(e harness.Entry) bool { return e["msg"] == "request with a fault" }
	entry = c.WaitLog(fault)
	require.Equal(t, "127.0.0.0", entry["client"])
	require.Equal(t, "enforce", entry["mode"])
	require.Equal(t, 1, c.countLogs(fault), "once a minute for one client and check")
	require.InDelta(t, 3, c.Metrics()[`caddy_edge_guard_checks_total{action="refused",check="method"}`], 0)

	got := c.get("/page;a=b")
	require.Equal(t, http.StatusOK, got.Status)
	require.Equal(t, []string{"edge"}, got.Header.Values("Server"))
	entry = c.WaitLog(isAccess("/page;a=b"))
	require.Equal(t, "path_parameter", entry["edge_guard_shadow"])
	require.InDelta(t, 1, c.Metrics()[`caddy_edge_guard_checks_total{action="shadow",check="path_parameter"}`], 0)

	routes := startGuarded(t, "edge_guard {\nsecurity_headers\n}", "handle_errors {\nrespond \"{err.status_code} {http.edge_guard.check} {http.edge_guard.request_id} {http.edge_guard.client_masked}\"\n}")
	got = routes.do("TRACE", "/", "")
	require.Equal(t, http.StatusMethodNotAllowed, got.Status)
	require.Equal(t, "405 method "+got.Header.Get("X-Request-Id")+" 127.0.0.0", string(got.Body))
	require.NotEmpty(t, got.Header.Get("Allow"))
	require.Equal(t, "nosniff", got.Header.Get("X-Content-Type-Options"))
}

// TestGuardRequestIDFromTrustedPeers: the id of a trusted proxy is taken over, no other.
func TestGuardRequestIDFromTrustedPeers(t *testing.T) {
	t.Parallel()
	c := startGuarded(t, "edge_guard", "")
	send := func(source string) string {
		got, err := harness.Send(c.ClientFrom(source), c.request(http.MethodGet, "/id", "X-Request-Id: from-the-client"))
		require.NoError(t, err)
		all := c.arrived()
		require.Len(t, all, 1)
		require.Equal(t, []string{got.Header.Get("X-Request-Id")}, all[0].Header["X-Request-Id"])
		return got.Header.Get("X-Request-Id")
	}
	require.Equal(t, "from-the-client", send("127.0.0.2"))
	require.Len(t, send("127.0.0.3"), 36)
}
