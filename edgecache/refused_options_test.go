package edgecache

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// refusal returns the error with which a Caddyfile block is refused, by the
// parser or when its JSON is provisioned.
func refusal(t *testing.T, block string) error {
	t.Helper()
	config, err := adapt(t, block)
	if err != nil {
		return err
	}
	ctx, cancel := caddy.NewContext(reloadtest.Context())
	defer cancel()
	_, err = ctx.LoadModuleByID("http.handlers.edge_cache", []byte(config))
	return err
}

// TestContradictoryOptionsAreRefused: options that can't be meant are errors that
// name the directive, the option and the value.
func TestContradictoryOptionsAreRefused(t *testing.T) {
	tests := []struct {
		lines string
		want  []string
	}{
		{"name 1edge", []string{"name", `"1edge"`}},
		{"name -edge", []string{"name", `"-edge"`}},
		{"rule /a {\nbypass\nttl 1s\n}", []string{"rule 1", "bypass excludes"}},
		{"rule /a {\noverride 1s all\nbypass\n}", []string{"rule 1", "bypass excludes"}},
		{"rule /a {\nset_cookie store\nbypass\n}", []string{"rule 1", "bypass excludes"}},
		{"rule /a {\n}", []string{"rule 1", "changes nothing"}},
		{"rule /a", []string{"rule 1", "changes nothing"}},
		{"max_ttl 1s\noverride 1m", []string{"max_ttl: 1s", "override"}},
		{"ttl 1m\noverride 2m", []string{"ttl: 1m", "override"}},
		{"rule /a {\nmax_ttl 1s\noverride 1m\n}", []string{"rule 1", "max_ttl: 1s", "override"}},
		{"rule /a {\nttl 1m\noverride 2m\n}", []string{"rule 1", "ttl: 1m", "override"}},
		{"override 10m\nrule /a {\nttl 5m\n}", []string{"rule 1", "ttl: 5m", "override, 10m"}},
		{"max_ttl 1m\nrule /a {\nset_cookie store\n}\nrule /b {\nttl 5m\n}", []string{"rule 2", "max_ttl", "1m", "5m"}},
		{"max_ttl 1m\nrule /a {\noverride 5m\n}", []string{"rule 1", "max_ttl", "1m", "5m"}},
		{"rule * {\nttl 1m\n}\nbypass /a", []string{"rule 2: never applies", "rule 1"}},
		{"key {\nheader X-A host\n}", []string{"key: header", "Host is always part of the key"}},
		{"key {\nvalue {nope}\n}", []string{"key: value: unknown placeholder {nope}: want one of the request"}},
		{"key {\nvalue {vars.a} \"{vars.b} {http.request.uri.pth}\"\n}", []string{"key: value: unknown placeholder {http.request.uri.pth}"}},
		{"key {\nvalue {http.request.body}\n}", []string{"key: value: unknown placeholder {http.request.body}"}},
		{"key {\nvalue device\n}", []string{`key: value: "device" holds no placeholder`}},
		{"normalize_language e@", []string{"normalize_language", `"e@"`}},
		{"normalize_language en e@ de", []string{"normalize_language", `"e@"`}},
		{"normalize_language *", []string{"normalize_language", `"*"`}},
	}
	for _, tt := range tests {
		t.Run(tt.lines, func(t *testing.T) {
			err := refusal(t, "{\n"+tt.lines+"\n}")
			for _, part := range append(tt.want, "edge_cache") {
				require.ErrorContains(t, err, part)
			}
		})
	}
	for _, lines := range []string{
		"name edge-1", "max_ttl 1m\noverride 1m", "ttl 1m\nrule /a {\noverride 1m\n}", "override 1m\nrule /a {\nttl 1m\noverride off\n}",
		"normalize_language en de-AT zh-Hant-TW", "ttl 5m\nrule /a {\nmax_ttl 1m\n}", "max_ttl 1m\nrule /a {\nmax_ttl 10m\nttl 5m\n}",
		"max_ttl 1m\nrule /a {\nmax_ttl off\nttl 5m\n}", "rule /a {\nttl 1m\n}\nrule * {\nttl 2m\n}", "key {\nquery allow ids[] filter[price]\n}",
		"key {\nvalue {env.RELEASE} {err.status_code} {rp.header.X-Group} {re.a.1} {cookie.a}-{header.B} {client_ip}\n}",
	} {
		require.NoError(t, refusal(t, "{\n"+lines+"\n}"), lines)
	}
}

// TestContradictoryJSONIsRefused covers what the Caddyfile can't say.
func TestContradictoryJSONIsRefused(t *testing.T) {
	for config, want := range map[string]string{
		`{"heuristic_max": "1h"}`:                                                 "heuristic_max: 1h0m0s has no effect without heuristic",
		`{"heuristic_max": "1h", "rules": [{"heuristic": -1}]}`:                   "heuristic_max: 1h",
		`{"rules": [{"heuristic_max": "1h"}]}`:                                    "rule 1: edge_cache: heuristic_max: 1h",
		`{"rules": [{"bypass": true}, {"ttl": "5m"}]}`:                            "rule 2: never applies",
		`{"rules": [{"match": [{"path": ["/a"]}, {}], "ttl": "5m"}, {"ttl": 1}]}`: "rule 2: never applies",

		`{"heuristic_max": "1h", "rules": [{"heuristic": 0.5}]}`:                "",
		`{"heuristic": 0.5, "rules": [{"heuristic_max": "1h"}, {"ttl": "5m"}]}`: "rule 2: never applies",
	} {
		t.Run(config, func(t *testing.T) {
			ctx, cancel := caddy.NewContext(reloadtest.Context())
			defer cancel()
			_, err := ctx.LoadModuleByID("http.handlers.edge_cache", []byte(config))
			if want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

// TestRulesTurnOptionsOff: off in a rule is not the same as nothing, which
// inherits.
func TestRulesTurnOptionsOff(t *testing.T) {
	tests := []struct {
		option, value string
		fields        []string
		fails         bool   // the second time
		on, off       string // ten seconds after the first request
	}{
		{option: "ttl", value: "1m", on: "edge; hit; ttl=50", off: "edge; fwd=uri-miss; detail=no-freshness"},
		{option: "override", value: "1m", fields: []string{"Cache-Control: max-age=5"},
			on: "edge; hit; ttl=50", off: "edge; fwd=stale; stored; ttl=5"},
		{option: "max_ttl", value: "5s", fields: []string{"Cache-Control: max-age=60"},
			on: "edge; fwd=stale; stored; ttl=5", off: "edge; hit; ttl=50"},
		{option: "heuristic", value: "0.5", fields: []string{"Date: Sat, 01 Jan 2000 00:00:00 GMT", "Last-Modified: Fri, 31 Dec 1999 23:58:00 GMT"},
			on: "edge; hit; ttl=50", off: "edge; fwd=stale; stored; ttl=-10"},
		{option: "stale_while_revalidate", value: "1h", fields: []string{"Cache-Control: max-age=5"},
			on: "edge; hit; ttl=-5", off: "edge; fwd=stale; stored; ttl=5"},
		{option: "stale_on_error", value: "1h", fields: []string{"Cache-Control: max-age=5"}, fails: true,
			on: "edge; fwd=stale; fwd-status=503; ttl=-5; detail=stale-if-error", off: "edge; fwd=stale; detail=no-store"},
	}
	for _, tt := range tests {
		t.Run(tt.option, func(t *testing.T) {
			config, err := adapt(t, "{\n"+tt.option+" "+tt.value+"\nrule /off {\n"+tt.option+" off\n}\nrule /other {\nset_cookie store\n}\n}")
			require.NoError(t, err)
			for path, want := range map[string]string{"/on": tt.on, "/other": tt.on, "/off": tt.off} {
				synctest.Test(t, func(t *testing.T) {
					n := 0
					g, cleanup := newRig(t, config, func(w http.ResponseWriter, r *http.Request) {
						if n > 0 && tt.fails {
							n++
							w.Header().Set("Cache-Control", "no-store")
							w.WriteHeader(http.StatusServiceUnavailable)
							return
						}
						answering(&n, 200, "x", tt.fields...)(w, r)
					})
					defer cleanup()
					require.Equal(t, http.StatusOK, g.get("http://example.com"+path).Code)
					time.Sleep(10 * time.Second)
					require.Equal(t, want, g.get("http://example.com"+path).cacheStatus(), path)
				})
			}
		})
	}
}
