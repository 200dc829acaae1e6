package edgecache

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// TestRoutesThatWouldMixResponses: the handler tells the edge app what is in its
// key, so that these are refused at load, and loaded with what the error names.
func TestRoutesThatWouldMixResponses(t *testing.T) {
	const answer = `{"handler": "static_response", "body": "x"}`
	cache := func(options string) string { return `{"handler": "edge_cache"` + options + `}` }
	proxyBy := func(matcher, options string) string {
		return `"routes": [{"handle": [` + cache(options) + `]},
			{"match": [` + matcher + `], "handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": "127.0.0.1:1"}]}]}, {"handle": [` + answer + `]}]`
	}
	byParameter := func(options string) string {
		return `"routes": [{"match": [{"query": {"preview": ["1"]}}], "handle": [` + cache(options) + `, ` + answer + `]},
			{"handle": [` + cache(options) + `, ` + answer + `]}]`
	}
	withErrors := func(options string) string {
		return `"routes": [{"handle": [` + cache("") + `, ` + answer + `]}], "errors": {"routes": [{"handle": [` + cache(options) + `, ` + answer + `]}]}`
	}
	identity := func(options string) string {
		return `"routes": [{"handle": [{"handler": "headers", "request": {"set": {"X-User": ["{http.auth.user.id}"]}}}, ` + cache(options) + `, ` + answer + `]}]`
	}
	const beta = `{"header": {"X-Beta": ["1"]}}`
	for _, test := range []struct{ name, server, want string }{
		{"upstream by header", proxyBy(beta, ""), "key header X-Beta"},
		{"upstream by header in the key", proxyBy(beta, `, "key": {"headers": ["x-beta"]}`), ""},
		{"upstream by cookie in the key", proxyBy(`{"vars": {"{http.request.cookie.beta}": ["1"]}}`, `, "key": {"cookies": ["beta"]}`), ""},
		{"upstream by another cookie", proxyBy(`{"vars": {"{http.request.cookie.beta}": ["1"]}}`, `, "key": {"cookies": ["other"]}`), "reverse_proxy at "},
		{"upstream by value in the key", proxyBy(`{"vars": {"device": ["mobile"]}}`, `, "key": {"values": ["{http.vars.device}"]}`), ""},
		{"upstream by scheme", proxyBy(`{"protocol": "https"}`, ""), ""},
		{"upstream by ignored scheme", proxyBy(`{"protocol": "https"}`, `, "key": {"ignore_scheme": true}`), "(protocol)"},
		{"upstream by ignored host", proxyBy(`{"host": ["a.test"]}`, `, "namespace": "n", "key": {"ignore_host": true}`), "(host)"},
		{"parameter", byParameter(""), ""},
		{"parameter and no query", byParameter(`, "key": {"query": {"none": true}}`), "namespace"},
		{"parameter that is ignored", byParameter(`, "key": {"query": {"ignore": ["pre*"]}}`), "namespace"},
		{"parameter beside one that is ignored", byParameter(`, "key": {"query": {"ignore": ["tracking"]}}`), ""},
		{"parameter that is allowed", byParameter(`, "key": {"query": {"allow": ["preview"]}}`), ""},
		{"sorted parameters", byParameter(`, "key": {"query": {"sort": true}}`), ""},
		{"error routes", withErrors(""), "namespace"},
		{"error routes with a namespace", withErrors(`, "namespace": "errors"`), ""},
		{"identity", identity(""), "key header X-User"},
		{"identity in the key", identity(`, "key": {"headers": ["X-User"]}`), ""},
		{"identity that is not forwarded", identity(`, "allow_headers": ["X-Other"]`), ""},
		{"identity that is forwarded", identity(`, "allow_headers": ["X-User"]`), "key header X-User"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := reloadtest.Load(t, fmt.Sprintf(`{"apps": {"http": {"servers": {"edge": {"listen": [%q],
				"automatic_https": {"disable": true}, %s}}}}}`, freeAddress(t), test.server))
			if test.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.want)
			}
		})
	}
}

// TestEventStreamsPass: the matcher of such requests may choose behind the cache,
// so that none of them must be stored for others.
func TestEventStreamsPass(t *testing.T) {
	n := 0
	g, cleanup := newRig(t, `{}`, answering(&n, 200, "x", "Cache-Control: max-age=60"))
	defer cleanup()
	require.Contains(t, g.get("http://example.com/", "Accept: text/event-stream").cacheStatus(), "detail=event-stream")
	require.Contains(t, g.get("http://example.com/", "Accept: */*", "Accept: text/event-stream").cacheStatus(), "detail=event-stream")
	require.Contains(t, g.get("http://example.com/", "Accept: */*").cacheStatus(), "stored")
}
