package edgecache

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/caddyedge/caddy-edge/edgecache/object"
	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// TestProvisionErrors: every bad option is refused by name and value.
func TestProvisionErrors(t *testing.T) {
	tests := []struct {
		config string
		want   []string
	}{
		{`{"unknown": 1}`, []string{"unknown"}},
		{`{"namespace": "a b"}`, []string{"namespace", `"a b"`}},
		{`{"name": "a;b"}`, []string{"name", `"a;b"`}},
		{`{"status_header": "a b"}`, []string{"status_header", `"a b"`}},
		{`{"ttl": "-1s"}`, []string{"ttl", "-1s"}},
		{`{"override": "-1s"}`, []string{"override", "-1s"}},
		{`{"max_ttl": "-1s"}`, []string{"max_ttl", "-1s"}},
		{`{"heuristic_max": "-1s"}`, []string{"heuristic_max", "-1s"}},
		{`{"stale_while_revalidate": "-1s"}`, []string{"stale_while_revalidate", "-1s"}},
		{`{"stale_on_error": "-1s"}`, []string{"stale_on_error", "-1s"}},
		{`{"heuristic": 1.5}`, []string{"heuristic", "1.5"}},
		{`{"heuristic": -0.5}`, []string{"heuristic", "-0.5"}},
		{`{"override_all": true}`, []string{"override_all", "needs override"}},
		{`{"negative_ttl": {"40": "1s"}}`, []string{"negative_ttl", `"40"`}},
		{`{"negative_ttl": {"4x4": "1s"}}`, []string{"negative_ttl", `"4x4"`}},
		{`{"negative_ttl": {"999": "1s"}}`, []string{"negative_ttl", `"999"`}},
		{`{"negative_ttl": {"200": "1s"}}`, []string{"negative_ttl", `"200"`, "not an error status"}},
		{`{"negative_ttl": {"404": "0s"}}`, []string{"negative_ttl", "404", "0s"}},
		{`{"client_control": "never"}`, []string{"client_control", `"never"`}},
		{`{"bypass_cookies": [""]}`, []string{"bypass_cookie", "empty"}},
		{`{"bypass_cookies": [""]}`, []string{"bypass_cookie", "empty name"}},
		{`{"max_object_size": -1}`, []string{"max_object_size", "-1"}},
		{`{"max_variants": -2}`, []string{"max_variants", "-2"}},
		{`{"fetch_timeout": -3}`, []string{"fetch_timeout", "-3"}},
		{`{"collapse": {"max_waiters": -4}}`, []string{"collapse", "waiters", "-4"}},
		{`{"collapse": {"timeout": -5}}`, []string{"collapse", "timeout", "-5"}},
		{`{"collapse": {"off": true, "timeout": "1s"}}`, []string{"collapse", "off excludes"}},
		{`{"tag_headers": ["a b"]}`, []string{"tags", `"a b"`}},
		{`{"request_headers": "keep"}`, []string{"request_headers", `"keep"`}},
		{`{"allow_headers": ["a:b"]}`, []string{"allow_headers", `"a:b"`}},
		{`{"development_until": "tomorrow"}`, []string{"development", `"tomorrow"`}},
		{`{"purge_allow": ["10.0.0.0/99"]}`, []string{"purge_allow", `"10.0.0.0/99"`}},
		{`{"key": {"headers": ["a b"]}}`, []string{"key", "header", `"a b"`}},
		{`{"key": {"cookies": ["a b"]}}`, []string{"key", "cookie", `"a b"`}},
		{`{"key": {"values": ["plain"]}}`, []string{"key", "value", `"plain"`}},
		{`{"key": {"query": {"allow": ["a"], "ignore": ["b"]}}}`, []string{"key", "query allow", "query ignore"}},
		{`{"key": {"query": {"none": true, "sort": true}}}`, []string{"key", "query none"}},
		{`{"key": {"query": {"ignore": [""]}}}`, []string{"key", "query", "empty parameter name"}},
		{`{"key": {"query": {"sort": true, "forward_ignored": true}}}`, []string{"key", "query forward_ignored"}},
		{`{"rules": [{"match": [{"path": ["/a"]}], "bypass": true}, {"ttl": "-1s"}]}`, []string{"rule 2", "ttl", "-1s"}},
		{`{"rules": [{"bypass": true, "match": [{"no_such_matcher": {}}]}]}`, []string{"rule 1", "no_such_matcher"}},
	}
	for _, tt := range tests {
		t.Run(tt.config, func(t *testing.T) {
			ctx, cancel := caddy.NewContext(reloadtest.Context())
			defer cancel()
			_, err := ctx.LoadModuleByID("http.handlers.edge_cache", []byte(tt.config))
			for _, part := range append(tt.want, "edge_cache") {
				require.ErrorContains(t, err, part)
			}
		})
	}
	_, ok := pool.Peek(sharedKey)
	require.False(t, ok, "a refused handler keeps nothing")
}

// TestMetricsAreSharedByHandlers: a config with several handlers registers the
// collectors once, and they keep their values over configs.
func TestMetricsAreSharedByHandlers(t *testing.T) {
	ctx, cancel := caddy.NewContext(reloadtest.Context())
	defer cancel()
	var recorders []*recorder
	for range 3 {
		r, err := newRecorder(ctx)
		require.NoError(t, err)
		recorders = append(recorders, r)
	}
	next, cancelNext := caddy.NewContext(reloadtest.Context())
	defer cancelNext()
	r, err := newRecorder(next)
	require.NoError(t, err)

	hits := func(g prometheus.Gatherer) float64 {
		families, err := g.Gather()
		require.NoError(t, err)
		for _, f := range families {
			if f.GetName() != "caddy_edge_cache_requests_total" {
				continue
			}
			for _, m := range f.GetMetric() {
				if m.GetLabel()[0].GetValue() == "hit" {
					return m.GetCounter().GetValue()
				}
			}
		}
		return -1
	}
	before := hits(ctx.GetMetricsRegistry())
	require.GreaterOrEqual(t, before, 0.0)
	recorders[0].count(status{result: ResultHit})
	recorders[2].count(status{result: ResultHit})
	r.count(status{result: ResultHit})
	require.InDelta(t, before+3, hits(ctx.GetMetricsRegistry()), 0)
	require.InDelta(t, before+3, hits(next.GetMetricsRegistry()), 0)
}

// TestReload: what is stored and the budget survive a rejected config, and go
// over to the next one.
func TestReload(t *testing.T) {
	config := func(memory int64, option, value any) string {
		handler := map[string]any{"handler": "edge_cache"}
		if option != "" {
			handler[option.(string)] = value
		}
		text, err := json.Marshal(map[string]any{"apps": map[string]any{
			"edge": map[string]any{"memory": memory},
			"http": map[string]any{"servers": map[string]any{"s": map[string]any{
				"listen": []string{freeAddress(t)}, "automatic_https": map[string]any{"disable": true},
				"routes": []any{map[string]any{"handle": []any{handler, map[string]any{"handler": "static_response", "body": "x"}}}},
			}}},
		}})
		require.NoError(t, err)
		return string(text)
	}
	// Caddy's own lock on its storage lingers for a moment.
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent(), goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"))

	require.NoError(t, reloadtest.Load(t, config(64<<20, "", nil)))
	live, ok := pool.Peek(sharedKey)
	require.True(t, ok)
	require.Equal(t, int64(64<<20), live.memory.Stats().Budget)
	require.True(t, live.memory.Put(object.New(&object.Spec{Key: "k", URL: "http://a/", Status: 200}, [][]byte{[]byte("x")})))

	for _, bad := range []struct {
		option string
		value  any
	}{{"client_control", "never"}, {"rules", []any{map[string]any{"match": []any{map[string]any{"nothing": 1}}}}}, {"bogus", 1}} {
		err := reloadtest.Load(t, config(32<<20, bad.option, bad.value))
		require.Error(t, err)
		now, ok := pool.Peek(sharedKey)
		require.True(t, ok, "after a bad %s", bad.option)
		require.Same(t, live, now)
		require.Equal(t, int64(64<<20), now.memory.Stats().Budget, "a rejected config changes no budget")
	}
	require.NotNil(t, live.lookup("k"))

	// The address in use is found out only when the servers start.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	late := strings.Replace(config(32<<20, "", nil), `"listen":["`, `"listen":["`+taken.Addr().String()+`","`, 1)
	require.Error(t, reloadtest.Load(t, late))
	require.NoError(t, taken.Close())
	now, ok := pool.Peek(sharedKey)
	require.True(t, ok)
	require.Same(t, live, now)

	require.NoError(t, reloadtest.Load(t, config(128<<20, "name", "other")))
	now, ok = pool.Peek(sharedKey)
	require.True(t, ok)
	require.Same(t, live, now)
	require.Equal(t, int64(128<<20), now.memory.Stats().Budget)
	require.NotNil(t, now.lookup("k"), "stored responses survive")

	reloadtest.Stop(t)
	_, ok = pool.Peek(sharedKey)
	require.False(t, ok)
}

// freeAddress returns a loopback address on which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	return fmt.Sprintf("127.0.0.1:%d", l.Addr().(*net.TCPAddr).Port)
}

// TestNoGoroutineIsLeft: not after fetches whose clients left, nor after the
// last handler.
func TestNoGoroutineIsLeft(t *testing.T) {
	_ = reloadtest.Context()
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var n int
	g, cleanup := newRig(t, `{}`, answering(&n, 200, "x", "Cache-Control: max-age=60"))
	for i := range 10 {
		g.get(fmt.Sprintf("http://example.com/%d", i))
		g.get(fmt.Sprintf("http://example.com/%d", i))
	}
	require.Equal(t, 10, n)
	cleanup()
}
