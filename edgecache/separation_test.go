package edgecache

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// TestIgnoreHostNeedsNamespace: without one, the responses of all hosts of all
// such handlers would fall together.
func TestIgnoreHostNeedsNamespace(t *testing.T) {
	ctx, cancel := caddy.NewContext(reloadtest.Context())
	defer cancel()
	_, err := ctx.LoadModuleByID("http.handlers.edge_cache", []byte(`{"key": {"ignore_host": true}}`))
	for _, part := range []string{"edge_cache", "ignore_host", "namespace"} {
		require.ErrorContains(t, err, part)
	}
	_, err = ctx.LoadModuleByID("http.handlers.edge_cache", []byte(`{"key": {"ignore_host": true}, "namespace": "n"}`))
	require.NoError(t, err)
}

// TestRequestWithoutHostIsNotCached: its key could be that of an ignored host.
func TestRequestWithoutHostIsNotCached(t *testing.T) {
	for _, config := range []string{
		`{}`, `{"namespace": "n"}`, `{"namespace": "n", "key": {"ignore_host": true}}`,
		`{"namespace": "n", "key": {"ignore_scheme": true}}`,
		`{"namespace": "n", "key": {"ignore_host": true, "ignore_scheme": true}}`,
	} {
		t.Run(config, func(t *testing.T) {
			o := &numbered{fields: []string{"Cache-Control: max-age=60"}}
			ignoring, cleanup := newRig(t, `{"namespace": "n", "key": {"ignore_host": true, "ignore_scheme": true}}`, o.ServeHTTP)
			defer cleanup()
			g, cleanupOther := newRig(t, config, o.ServeHTTP)
			defer cleanupOther()
			require.Equal(t, "1", ignoring.get("http://example.com/").Body.String())
			for _, want := range []string{"2", "3"} {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.Host = ""
				got := g.do(r)
				require.Equal(t, want, got.Body.String())
				require.Contains(t, got.cacheStatus(), "edge; fwd=bypass")
			}
			require.Equal(t, "1", ignoring.get("http://example.com/").Body.String())
		})
	}
}

// TestHandlersOfOtherRulesShareNothing: handlers on one host and in one namespace
// that key, forward or store otherwise must not see each other's responses,
// whatever the request: what one holds to be the same is not for the other.
func TestHandlersOfOtherRulesShareNothing(t *testing.T) {
	rules := []string{
		`{"namespace": "n"}`,
		`{"namespace": "n", "key": {"ignore_host": true}}`,
		`{"namespace": "n", "key": {"ignore_scheme": true}}`,
		`{"namespace": "n", "key": {"headers": ["X-A"]}}`,
		`{"namespace": "n", "key": {"headers": ["X-B"]}}`,
		`{"namespace": "n", "key": {"cookies": ["a"]}}`,
		`{"namespace": "n", "key": {"values": ["{http.vars.x}"]}}`,
		`{"namespace": "n", "key": {"query": {"none": true}}}`,
		`{"namespace": "n", "key": {"query": {"allow": ["a"]}}}`,
		`{"namespace": "n", "key": {"query": {"ignore": ["a"]}}}`,
		`{"namespace": "n", "key": {"query": {"ignore": ["a"], "forward_ignored": true}}}`,
		`{"namespace": "n", "request_headers": "key"}`,
		`{"namespace": "n", "request_headers": "trust"}`,
		`{"namespace": "n", "store_set_cookie": true}`,
		`{"namespace": "m"}`,
	}
	o := &numbered{fields: []string{"Cache-Control: max-age=60"}}
	var rigs []*rig
	for _, config := range rules {
		g, cleanup := newRig(t, config, o.ServeHTTP)
		defer cleanup()
		rigs = append(rigs, g)
	}
	bodies := make(map[string]string)
	for i, g := range rigs {
		body := g.get("http://example.com/").Body.String()
		require.Empty(t, bodies[body], "%s shares with %s", rules[i], bodies[body])
		bodies[body] = rules[i]
		require.Equal(t, body, g.get("http://example.com/").Body.String(), "stored: %s", rules[i])
		same, cleanup := newRig(t, rules[i], o.ServeHTTP)
		defer cleanup()
		require.Equal(t, body, same.get("http://example.com/").Body.String(), "a reload keeps what %s stored", rules[i])
	}
	o.requireFetches(t, len(rules), "one for each")
}

// TestIgnoredSchemeStoresNoRedirectToTheOther: an origin that sends http to https
// would send https there too, if it were answered from the store.
func TestIgnoredSchemeStoresNoRedirectToTheOther(t *testing.T) {
	for _, tt := range []struct {
		config, location string
		stored           bool
	}{
		{`{"key": {"ignore_scheme": true}}`, "https://example.com/a", false},
		{`{"key": {"ignore_scheme": true}}`, "HTTPS://EXAMPLE.com:443/b?c", false},
		{`{"key": {"ignore_scheme": true}}`, "https://www.example.com/a", true},
		{`{"key": {"ignore_scheme": true}}`, "http://example.com/b", true},
		{`{"key": {"ignore_scheme": true}}`, "/b", true},
		{`{"key": {"ignore_scheme": true}}`, "", true},
		{`{}`, "https://example.com/a", true},
	} {
		t.Run(tt.config+" "+tt.location, func(t *testing.T) {
			n := 0
			g, cleanup := newRig(t, tt.config, answering(&n, http.StatusMovedPermanently, "", "Cache-Control: max-age=60", "Location: "+tt.location))
			defer cleanup()
			first := g.get("http://example.com/a")
			require.Equal(t, tt.stored, !strings.Contains(first.cacheStatus(), "scheme-redirect"), first.cacheStatus())
			second := g.get("http://example.com/a")
			require.Equal(t, tt.stored, strings.Contains(second.cacheStatus(), "hit"), second.cacheStatus())
		})
	}
}
