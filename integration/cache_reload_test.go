package integration

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

func TestReloadKeepsObjects(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.HandleFunc("/page", numbered(minute))
	c.get("/page")
	before := c.stats()
	require.Equal(t, 1, before.Entries)
	require.EqualValues(t, 64<<20, before.Budget)

	require.NoError(t, c.Reload(cachedSite, harness.Vars{"memory": "32MiB", "options": "debug_headers"}))
	got := c.get("/page")
	require.Equal(t, "answer 1", string(got.Body))
	require.Equal(t, "HIT", got.Header.Get("X-Edge-Cache"))
	after := c.stats()
	require.EqualValues(t, 32<<20, after.Budget)
	require.Equal(t, before.Bytes, after.Bytes)
}

func TestRejectedReloadKeepsObjectsAndBudget(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.HandleFunc("/page", numbered(minute))
	c.get("/page")
	before := c.stats()
	for _, options := range []string{
		// refused by the parser, by the module, and after it, by another module
		"unknown",
		"key {\nquery allow a\nquery ignore b\n}",
		"}\nfile_server {\nprecompressed nonsense\n}\nedge_cache {\nnamespace other",
	} {
		require.Error(t, c.Reload(cachedSite, harness.Vars{"memory": "1MiB", "options": options}))
		require.Equal(t, "answer 1", string(c.get("/page").Body))
		require.Equal(t, before, c.stats())
	}
	require.NoError(t, c.Reload(cachedSite, harness.Vars{"memory": "64MiB", "options": ""}))
	require.Equal(t, "answer 1", string(c.get("/page").Body))
	require.Equal(t, before, c.stats())
}

func TestReloadWhileAResponseStreams(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	body := origin.Pattern(100_000)
	gate := origin.NewGate()
	c.origin.HandleFunc("/page", func(r *origin.Request) origin.Reply {
		return origin.Reply{Headers: []string{minute}, Body: body, ChunkSize: 10_000, HoldChunk: gate}
	})
	gate.Step(1)
	client := c.Client(harness.H1)
	old, _ := open(t, client, c.request(http.MethodGet, "/page"))
	readN(t, old.Body, 10_000)
	require.NoError(t, c.Reload(cachedSite, harness.Vars{"options": "debug_headers"}))
	gate.Open()
	require.Equal(t, string(body[10_000:]), readN(t, old.Body, 90_000))
	require.Equal(t, body, c.get("/page").Body)
	require.LessOrEqual(t, c.origin.Stats("/page").Arrived, 2)
}

func TestMetricsKeepTheirValuesOverReloads(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.HandleFunc("/page", numbered(minute))
	c.origin.HandleFunc("/none", numbered("Cache-Control: no-store"))
	c.get("/page")
	c.get("/page")
	c.get("/page")
	c.get("/none")
	c.do(http.MethodPost, "/none", "x")
	want := map[string]float64{
		`caddy_edge_cache_requests_total{result="hit"}`:   2,
		`caddy_edge_cache_requests_total{result="store"}`: 1,
		`caddy_edge_cache_requests_total{result="miss"}`:  1,
		`caddy_edge_cache_requests_total{result="pass"}`:  1,
		`caddy_edge_cache_stores_total`:                   1,
		`caddy_edge_cache_purges_total`:                   1,
		`caddy_edge_cache_entries`:                        1,
		`caddy_edge_cache_reserved_bytes`:                 0,
		`caddy_edge_cache_budget_bytes`:                   64 << 20,
	}
	check := func() {
		t.Helper()
		got := c.Metrics()
		for series, value := range want {
			require.Contains(t, got, series)
			require.InDelta(t, value, got[series], 0, series)
		}
	}
	check()
	require.NoError(t, c.Reload(cachedSite))
	check()
	require.Error(t, c.Reload(cachedSite, harness.Vars{"options": "nonsense"}))
	check()
	c.get("/page")
	want[`caddy_edge_cache_requests_total{result="hit"}`] = 3
	check()
}

func TestAccessLogAndPlaceholders(t *testing.T) {
	t.Parallel()
	c := startCaddyfile(t, `
		{{http "site"}} {
			log
			header >X-Status "{http.edge_cache.status}/{http.edge_cache.detail}/{http.edge_cache.forward}"
			edge_cache {
				bypass /bypass
			}
			reverse_proxy {{.origin}}
		}
	`, nil)
	c.origin.HandleFunc("/page", numbered(minute))
	c.origin.HandleFunc("/none", numbered("Cache-Control: no-store"))
	c.origin.HandleFunc("/bypass", numbered(minute))
	for _, tc := range []struct{ path, result, detail, placeholders string }{
		{"/page?1", "store", "", "store//uri-miss"},
		{"/page?1", "hit", "", "hit//"},
		{"/none?2", "miss", "no-store", "miss/no-store/uri-miss"},
		{"/bypass?3", "pass", "rule", "pass/rule/bypass"},
	} {
		got := c.get(tc.path)
		require.Equal(t, tc.placeholders, got.Header.Get("X-Status"), tc.path)
		c.WaitLog(func(e harness.Entry) bool {
			request, _ := e["request"].(map[string]any)
			detail, _ := e["edge_cache_detail"].(string)
			return e["msg"] == "handled request" && request["uri"] == tc.path && e["edge_cache"] == tc.result && detail == tc.detail
		})
	}
}

// A configuration that an address in use rejects changes neither the budget nor what is
// stored, though it has less memory, whichever part of it starts first.
func TestLateRejectionLeavesTheStoreAlone(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer busy.Close()
	c := startCaddyfile(t, cachedSite, harness.Vars{"options": "", "memory": "64MiB"})
	c.origin.HandleFunc("/*", func(*origin.Request) origin.Reply {
		return origin.Reply{Headers: []string{minute}, Body: origin.Pattern(200_000)}
	})
	const pages = 20
	for i := range pages {
		c.get(fmt.Sprintf("/%d", i))
	}
	before := c.stats()
	require.Equal(t, pages, before.Entries)
	rejected := strings.Replace(cachedSite, `{{http "site"}}`, `http://{{.busy}}, {{http "site"}}`, 1)
	for range 12 { // Caddy starts the apps in any order
		err := c.Reload(rejected, harness.Vars{"options": "", "memory": "1MiB", "busy": busy.Addr().String()})
		require.ErrorContains(t, err, "address already in use")
		after := c.stats()
		require.Equal(t, []int64{before.Budget, before.Bytes}, []int64{after.Budget, after.Bytes})
	}
	for i := range pages {
		require.Contains(t, cacheStatus(c.get(fmt.Sprintf("/%d", i))), "edge; hit")
	}
	require.NoError(t, c.Reload(cachedSite, harness.Vars{"options": "", "memory": "1MiB"}))
	poll(t, "the smaller budget holds", func() bool { s := c.stats(); return s.Budget == 1<<20 && s.Bytes <= 1<<20 })
}
