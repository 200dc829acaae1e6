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

func TestBadLimitOptionsAreRefusedByName(t *testing.T) {
	t.Parallel()
	requireRefusedConfigs(t, []badConfig{
		{"edge_limit 0/s", []string{"edge_limit", `"0/s"`, "at least 1"}},
		{"edge_limit -1/s", []string{"edge_limit", `"-1/s"`, "at least 1"}},
		{"edge_limit 100", []string{"edge_limit", `"100"`, "100/s"}},
		{"edge_limit 1.5/s", []string{"edge_limit", `"1.5/s"`}},
		{"edge_limit 5/fortnight", []string{"edge_limit", "fortnight", "s, m, h, d"}},
		{"edge_limit 5/0s", []string{"edge_limit", `"5/0s"`}},
		{"edge_limit 5/-1s", []string{"edge_limit", `"5/-1s"`}},
		{"edge_limit 9999999999/s", []string{"edge_limit", "9999999999/s", "1000000 per second"}},
		{"edge_limit 99999999999999999999/s", []string{"edge_limit", "99999999999999999999/s"}},
		{"edge_limit 3/h 4/h", []string{"edge_limit: takes a matcher and a rate", `"4/h"`}},
		{"edge_limit 3/h {\nspeed 5\n}", []string{"edge_limit", `unknown option "speed"`}},
		{"edge_limit 3/h {\nmode off\nmode off\n}", []string{"edge_limit: mode: given more than once"}},
		{"edge_limit 3/h {\nmode on\n}", []string{"edge_limit: mode:", `"on"`, "enforce, shadow, off"}},
		{"edge_limit 3/h {\nrate 4/h\n}", []string{"edge_limit: rate: given more than once"}},
		{"edge_limit 3/h {\nstatus 200\n}", []string{"edge_limit: status:", `"200"`, "400 to 599"}},
		{"edge_limit 3/h {\nrespond maybe\n}", []string{"edge_limit: respond:", `"maybe"`}},
		{"edge_limit 3/h {\nratelimit_fields often\n}", []string{"edge_limit: ratelimit_fields:", `"often"`}},
		{"edge_limit 3/h {\nnotice 0\n}", []string{"edge_limit: notice:", `"0"`, "above zero"}},
		{"edge_limit 3/h {\nheader X\n}", []string{"edge_limit: header:", "a field and a value"}},
		{"edge_limit 3/h {\nburst 0\n}", []string{"edge_limit: burst:", `"0"`, "from 1"}},
	})
}

func TestBadZonesAreRefusedByName(t *testing.T) {
	t.Parallel()
	zone := func(options string) string { return "edge_limit {\nzone api 3/h {\n" + options + "\n}\n}" }
	requireRefusedConfigs(t, []badConfig{
		{"edge_limit 3/h {\nwindow 3/h\n}", []string{"edge_limit: zone default:", "rate 3/h and window 3/h exclude each other"}},
		{"edge_limit {\nzone\n}", []string{"edge_limit: zone:", "needs a name"}},
		{"edge_limit {\nzone api 3/h\nzone api 4/h\n}", []string{"edge_limit: zone api:", "more than once"}},
		{"edge_limit 3/h {\nzone default 4/h\n}", []string{"edge_limit: zone default:", "two zones"}},
		{"edge_limit {\nzone \"a b\" 3/h\n}", []string{"edge_limit: zone a b:", "name: invalid value"}},
		{"edge_limit {\nzone api\n}", []string{"edge_limit: zone api:", "limits nothing"}},
		{"edge_limit {\nzone api 0/s\n}", []string{"edge_limit: zone api: rate:", `"0/s"`}},
		{zone("burst -1"), []string{"edge_limit: zone api: burst:", `"-1"`}},
		{zone("burst many"), []string{"edge_limit: zone api: burst:", `"many"`}},
		{zone("burst 5\nburst 5"), []string{"edge_limit: zone api: burst: given more than once"}},
		{zone("window 3/h"), []string{"edge_limit: zone api:", "rate 3/h and window 3/h exclude each other"}},
		{zone("concurrency 0"), []string{"edge_limit: zone api: concurrency:", `"0"`}},
		{zone("penalty -1s"), []string{"edge_limit: zone api: penalty:", `"-1s"`}},
		{zone("cost 4"), []string{"edge_limit: zone api: cost:", "4 is more than the 3"}},
		{zone("cost 0"), []string{"edge_limit: zone api: cost:", `"0"`}},
		{zone("cost {nonsense}"), []string{"edge_limit: zone api: cost:", "{nonsense}", "unknown placeholder"}},
		{zone("key {nonsense}"), []string{"edge_limit: zone api: key:", "{nonsense}", "unknown placeholder"}},
		{zone("key {http.request.nonsense}"), []string{"edge_limit: zone api: key:", "{http.request.nonsense}", "unknown placeholder"}},
		{zone("key {http.request.headers.X-Api-Key}"), []string{"edge_limit: zone api: key:", "{http.request.headers.X-Api-Key}", "unknown placeholder"}},
		{zone("key {http.request.uri.pth}"), []string{"edge_limit: zone api: key:", "{http.request.uri.pth}", "unknown placeholder"}},
		{zone(`key "{client_ip"`), []string{"edge_limit: zone api: key:", "not closed"}},
		{zone("exempt 300.1.2.3"), []string{"edge_limit: zone api: exempt:", `"300.1.2.3"`}},
		{zone("exempt 10.0.0.0/33"), []string{"edge_limit: zone api: exempt:", `"10.0.0.0/33"`}},
		{zone("exempt ::ffff:10.0.0.0/104"), []string{"edge_limit: zone api: exempt:", `"::ffff:10.0.0.0/104"`}},
		{zone("exempt @nobody"), []string{"@nobody"}},
		{zone("exempt"), []string{"edge_limit: zone api: exempt:", "at least one"}},
		{zone("ipv4_prefix 33"), []string{"edge_limit: zone api: ipv4_prefix:", `"33"`}},
		{zone("ipv6_prefix 0"), []string{"edge_limit: zone api: ipv6_prefix:", `"0"`}},
		{zone("ipv6_prefix 48 64"), []string{"edge_limit: zone api: ipv6_prefix:", "64", "1 to 47"}},
		{zone("ipv6_prefix 64 48\nkey {header.X}"), []string{"edge_limit: zone api: ipv6_prefix:", "an address in the key"}},
		{zone("outer_factor 0"), []string{"edge_limit: zone api: outer_factor:", `"0"`}},
		{zone("count"), []string{"edge_limit: zone api: count:"}},
		{zone("count status 99"), []string{"edge_limit: zone api: count:", `"99"`}},
		{zone("count status 6xx"), []string{"edge_limit: zone api: count:", `"6xx"`}},
		{zone("keys 1"), []string{"edge_limit: zone api: keys:", `"1"`}},
		{zone("cluster yes"), []string{"edge_limit: zone api: cluster:", "takes no argument"}},
		{zone("cluster"), []string{"edge_limit: zone api: cluster:", "redis"}},
		{zone("mode none"), []string{"edge_limit: zone api: mode:", `"none"`}},
		{zone("match"), []string{"edge_limit: zone api: match:"}},
		{zone("unknown"), []string{"edge_limit: zone api:", `unknown option "unknown"`}},
		{"edge_limit {\nzone api {\nwindow 70000/h\n}\n}", []string{"edge_limit: zone api: window 70000/h", "65535"}},
		{"edge_limit {\nzone api {\nwindow 5/h\nburst 5\n}\n}", []string{"edge_limit: zone api: burst:", "needs a rate"}},
		{"edge_limit {\nzone api {\nconcurrency 5\npenalty 1h\n}\n}", []string{"edge_limit: zone api: penalty:", "needs a rate"}},
		{"edge_limit {\nzone api {\nconcurrency 5\ncount status 401\n}\n}", []string{"edge_limit: zone api: count:", "needs a rate"}},
		{"edge_limit {\nrules {{dir}}/none.yaml\n}", []string{"edge_limit: rules:", "none.yaml", "no such file"}},
		{"edge_limit {\nrules {{dir}}\n}", []string{"edge_limit: rules:", "is a directory"}},
	})
}

// badConfig is a directive that must not load.
type badConfig struct {
	directives string
	says       []string // each must be in the error
}

// requireRefusedConfigs has an edge refuse configs, and go on with the one it has.
func requireRefusedConfigs(t *testing.T, configs []badConfig) {
	t.Helper()
	c := startLimited(t, "edge_limit 3/h")
	requireAllowed(t, 3, func() *harness.Response { return c.get("/page") })
	for _, bad := range configs {
		err := c.Reload(strings.ReplaceAll(limitedSite, "{{.limits}}", bad.directives))
		require.Error(t, err, bad.directives)
		for _, part := range bad.says {
			require.ErrorContains(t, err, part, bad.directives)
		}
	}
	require.Equal(t, http.StatusTooManyRequests, c.get("/page").Status, "the running config stays")
}

func TestValidateRefusesABadLimit(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "Caddyfile")
	require.NoError(t, os.WriteFile(file, []byte(":1 {\n\tedge_limit 3/h {\n\t\tkey {nonsense}\n\t}\n}\n"), 0o600))
	got := harness.Run(t, "validate", "--config", file)
	require.Equal(t, 1, got.ExitCode)
	require.Contains(t, got.Stderr, "edge_limit: zone default: key:")
	require.Contains(t, got.Stderr, "{nonsense}")
}

const publishedRules = `
rules:
  - id: login
    key: ip+path
    path_prefix: /login
    rate: 0.001
    burst: 3
  - id: api
    key: header
    path_prefix: /api
    rate: 0.001
    burst: 2
    enabled: true
  - id: sleeping
    key: ip
    path_prefix: /
    rate: 0.001
    burst: 1
    enabled: false
exemptions:
  cidrs: [127.0.0.4/32]
  paths: [/login/health, "/api/public/*"]
`

func TestRulesFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(file, []byte(publishedRules), 0o600))
	c := startLimited(t, "edge_limit {\nzone own 20/h\nrules "+file+"\n}")
	z := c.zones()
	require.Len(t, z, 3)
	require.Contains(t, z, "own")
	require.Equal(t, 3, z["login"].Burst)
	require.Equal(t, "{http.request.header.X-Api-Key}", z["api"].Key)

	client := c.ClientFrom("127.0.0.3")
	send := func(path string, lines ...string) func() *harness.Response { return c.through(client, path, lines...) }
	requireAllowed(t, 3, send("/login"))
	requireAllowed(t, 3, send("/login/other"))
	requireAllowed(t, 2, send("/api/x", "X-Api-Key: a"))
	requireAllowed(t, 2, send("/api/y", "X-Api-Key: b"))
	for range 4 {
		require.Equal(t, http.StatusOK, send("/login/health")().Status)
		require.Equal(t, http.StatusOK, send("/loginform")().Status, "no part of the path")
	}
	for range 2 {
		require.Equal(t, http.StatusOK, send("/api/public/a", "X-Api-Key: a")().Status)
	}
	requireAllowed(t, 0, send("/page")) // 20 requests were charged to the zone of its own
	exempt := c.ClientFrom("127.0.0.4")
	for range 4 {
		require.Equal(t, http.StatusOK, c.through(exempt, "/login")().Status)
	}

	// The file is read at each load.
	require.NoError(t, os.WriteFile(file, []byte("rules: [{id: login, rate: 0.001, burst: 9}]"), 0o600))
	require.NoError(t, c.Reload(limitedSite))
	require.Equal(t, 9, c.zones()["login"].Burst)
	require.NotContains(t, c.zones(), "api")
}

func TestBadRulesFilesAreRefusedByRule(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "rules.yaml")
	c := startLimited(t, "edge_limit 3/h")
	for name, tc := range map[string]struct {
		text string
		says []string
	}{
		"empty":             {"", []string{"no rules"}},
		"no YAML":           {"rules: [\n", []string{"yaml"}},
		"not a list":        {"rules: 5", []string{"line 1: rules", "a list of rules"}},
		"unknown field":     {"rules: [{id: a, rate: 1, brust: 5}]", []string{"brust"}},
		"no id":             {"rules: [{rate: 1}]", []string{"rule 1", "no id"}},
		"id twice":          {"rules: [{id: a, rate: 1}, {id: a, rate: 2}]", []string{"rule 2", `"a"`}},
		"bad id":            {"rules: [{id: a b, rate: 1}]", []string{"rule 1", "a b", "id: invalid value"}},
		"no rate":           {"rules: [{id: a}]", []string{`"a"`, "rate"}},
		"rate zero":         {"rules: [{id: a, rate: 0}]", []string{`"a"`, "rate", "0.0000001"}},
		"rate below zero":   {"rules: [{id: a, rate: -1}]", []string{`"a"`, "rate", "-1"}},
		"rate no number":    {"rules: [{id: a, rate: .nan}]", []string{`"a"`, "rate"}},
		"rate far too low":  {"rules: [{id: a, rate: 1e-12}]", []string{"a", "rate"}},
		"burst zero":        {"rules: [{id: a, rate: 1, burst: 0}]", []string{`"a"`, "burst", "0"}},
		"burst below zero":  {"rules: [{id: a, rate: 1, burst: -1}]", []string{`"a"`, "burst", "-1"}},
		"unknown key":       {"rules: [{id: a, rate: 1, key: mac}]", []string{`"a"`, `"mac"`}},
		"bad header":        {`rules: [{id: a, rate: 1, key: header, header: "x y"}]`, []string{`"a"`, `"x y"`}},
		"bad prefix":        {"rules: [{id: a, rate: 1, path_prefix: api}]", []string{`"a"`, "path_prefix", `"api"`}},
		"bad CIDR":          {"rules: [{id: a, rate: 1}]\nexemptions: {cidrs: [10.0.0.0/99]}", []string{"exemptions", `"10.0.0.0/99"`}},
		"bad path":          {"rules: [{id: a, rate: 1}]\nexemptions: {paths: [x]}", []string{"exemptions", `"x"`}},
		"two documents":     {"rules: [{id: a, rate: 1}]\n---\nrules: []", []string{"more than one document"}},
		"name of a zone":    {"rules: [{id: own, rate: 1}]", []string{"edge_limit: zone own", "two zones"}},
		"anchors that grow": {"a: &a [1]\nrules: *a", []string{"rules"}},
	} {
		require.NoError(t, os.WriteFile(file, []byte(tc.text), 0o600))
		err := c.Reload(limitedSite, harness.Vars{"limits": "edge_limit {\nzone own 5/h\nrules " + file + "\n}"})
		require.ErrorContains(t, err, "edge_limit: ", name)
		for _, part := range tc.says {
			require.ErrorContains(t, err, part, name)
		}
	}
	require.Equal(t, http.StatusOK, c.get("/page").Status)
}
