package edgecache

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile" // the adapter
	"github.com/stretchr/testify/require"
)

// adapt adapts a site with the block of an edge_cache directive and returns the
// handler's JSON.
func adapt(t *testing.T, block string) (string, error) {
	t.Helper()
	input := ":80 {\n\troute {\n\t\tedge_cache " + block + "\n\t\trespond x\n\t}\n}\n"
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), nil)
	if err != nil {
		return "", err
	}
	var config any
	require.NoError(t, json.Unmarshal(adapted, &config))
	found := handlerIn(config)
	require.NotNil(t, found, "%s", adapted)
	delete(found, "handler")
	text, err := json.Marshal(found)
	require.NoError(t, err)
	return string(text), nil
}

// handlerIn finds the edge_cache handler in a config.
func handlerIn(node any) map[string]any {
	switch v := node.(type) {
	case map[string]any:
		if v["handler"] == "edge_cache" {
			return v
		}
		for _, child := range v {
			if found := handlerIn(child); found != nil {
				return found
			}
		}
	case []any:
		for _, child := range v {
			if found := handlerIn(child); found != nil {
				return found
			}
		}
	}
	return nil
}

func TestCaddyfile(t *testing.T) {
	tests := []struct{ block, want string }{
		{"", `{}`},
		{"{\n}", `{}`},
		{"{\nnamespace shop\nname cdn\nstatus_header off\ndebug_headers\n}",
			`{"debug_headers": true, "name": "cdn", "namespace": "shop", "status_header": "off"}`},
		{"{\nttl 1m\nmax_ttl 1d\nstale_while_revalidate 10s\nstale_on_error 1h\nset_cookie store\n}",
			`{"ttl": 60000000000, "max_ttl": 86400000000000, "stale_while_revalidate": 10000000000, "stale_on_error": 3600000000000, "store_set_cookie": true}`},
		{"{\noverride 5s all\n}", `{"override": 5000000000, "override_all": true}`},
		{"{\nnegative_ttl 10s 404 410\nnegative_ttl 1s 503\n}",
			`{"negative_ttl": {"404": 10000000000, "410": 10000000000, "503": 1000000000}}`},
		{"{\nheuristic\n}", `{"heuristic": 0.1}`},
		{"{\nheuristic 0.2 1h\n}", `{"heuristic": 0.2, "heuristic_max": 3600000000000}`},
		{"{\nbypass /admin/*\nbypass_cookie a b_*\nbypass_cookie c\n}",
			`{"rules": [{"match": [{"path": ["/admin/*"]}], "bypass": true}], "bypass_cookies": ["a", "b_*", "c"]}`},
		{"{\nrule /api/* {\nttl 1s\nnegative_ttl 1s 500\n}\nrule * {\nbypass\n}\n}",
			`{"rules": [{"match": [{"path": ["/api/*"]}], "ttl": 1000000000, "negative_ttl": {"500": 1000000000}}, {"match": [{}], "bypass": true}]}`},
		{"{\nkey {\nquery sort\nquery ignore tracking a\nquery ignore b\nheader X-A\ncookie c\nvalue {http.vars.x}\nignore_host\nignore_scheme\n}\n}",
			`{"key": {"query": {"sort": true, "ignore": ["tracking", "a", "b"]}, "headers": ["X-A"], "cookies": ["c"], "values": ["{http.vars.x}"], "ignore_host": true, "ignore_scheme": true}}`},
		{"{\nclient_control honour\nnormalize_language en de\nmax_object_size 10MiB\nmax_variants 3\n}",
			`{"client_control": "honour", "normalize_language": ["en", "de"], "max_object_size": 10485760, "max_variants": 3}`},
		{"{\ncollapse off\nfetch_timeout 10s\n}", `{"collapse": {"off": true}, "fetch_timeout": 10000000000}`},
		{"{\ncollapse {\nwaiters 5\ntimeout 2s\n}\n}", `{"collapse": {"max_waiters": 5, "timeout": 2000000000}}`},
		{"{\ntags X-Tags\nrequest_headers key\nallow_headers X-A X-B\ndeception_armor off\n}",
			`{"tag_headers": ["X-Tags"], "request_headers": "key", "allow_headers": ["X-A", "X-B"], "deception_armor_off": true}`},
		{"{\ndeception_armor\n}", `{}`},
		{"{\ndevelopment 2030-01-31T12:00:00+01:00\npurge_allow 10.0.0.1 fd00::/8\n}",
			`{"development_until": "2030-01-31T11:00:00Z", "purge_allow": ["10.0.0.1", "fd00::/8"]}`},
	}
	for _, tt := range tests {
		t.Run(tt.block, func(t *testing.T) {
			got, err := adapt(t, tt.block)
			require.NoError(t, err)
			if strings.Contains(tt.want, `[{}]`) { // how a matcher of everything looks is Caddy's business
				require.Contains(t, got, `"bypass":true`)
				return
			}
			require.JSONEq(t, tt.want, got)
		})
	}
}

func TestCaddyfileErrors(t *testing.T) {
	tests := []struct {
		lines string
		want  string
	}{
		{"bogus 1", `edge_cache: unknown option "bogus"`},
		{"ttl", `edge_cache: ttl: needs a value`},
		{"ttl 1s 2s", `edge_cache: ttl: needs exactly one value`},
		{"ttl 0s", `edge_cache: ttl: invalid duration "0s": must be above zero, or off`},
		{"override 0", `edge_cache: override: invalid duration "0": must be above zero, or off`},
		{"fetch_timeout 0", `edge_cache: fetch_timeout: invalid duration "0": must be above zero, at`},
		{"ttl soon", `"soon"`},
		{"ttl 1s\nttl 2s", `edge_cache: ttl: given more than once`},
		{"override", `edge_cache: override: needs at least one argument`},
		{"override 1s some", `edge_cache: override: want a duration`},
		{"override -1s", `"-1s"`},
		{"negative_ttl 1s", `edge_cache: negative_ttl: names no status`},
		{"negative_ttl 1s 200", `"200" is not an error status`},
		{"negative_ttl 1s 4xx", `"4xx"`},
		{"negative_ttl 1s 404\nnegative_ttl 2s 404", `status 404 is given twice`},
		{"heuristic 2", `edge_cache: heuristic: invalid fraction "2"`},
		{"heuristic 0", `edge_cache: heuristic: invalid fraction "0"`},
		{"heuristic 0.1 1h 3", `edge_cache: heuristic: want a fraction and a maximum`},
		{"set_cookie drop", `edge_cache: set_cookie: invalid value "drop"`},
		{"debug_headers yes", `edge_cache: debug_headers: takes no argument`},
		{"rule {\nttl 1s\n}", `edge_cache: rule: needs a matcher: @name, a path, or *`},
		{"rule /a {\nname x\n}", `edge_cache: rule: unknown option "name"`},
		{"rule /a {\nttl 1s\nttl 1s\n}", `edge_cache: rule: ttl: given more than once`},
		{"rule /a b {\nttl 1s\n}", `edge_cache: rule: takes one matcher and a block, got "b"`},
		{"rule @nope {\nttl 1s\n}", `edge_cache: rule: unrecognized matcher name: @nope`},
		{"bypass @nope", `edge_cache: bypass: unrecognized matcher name: @nope`},
		{"bypass", `edge_cache: bypass: needs a matcher`},
		{"bypass /a b", `edge_cache: bypass: takes one matcher, got ["b"] too`},
		{"bypass_cookie", `edge_cache: bypass_cookie: needs at least one argument`},
		{"key x", `edge_cache: key: takes a block, got "x"`},
		{"key {\nbogus\n}", `edge_cache: key: unknown option "bogus"`},
		{"key {\nquery\n}", `edge_cache: key: query: needs at least one argument`},
		{"key {\nquery some\n}", `edge_cache: key: query: unknown value "some"`},
		{"key {\nquery sort a\n}", `edge_cache: key: query: sort takes no names`},
		{"key {\nquery allow\n}", `edge_cache: key: query: allow names no parameter`},
		{"key {\nheader A\nheader B\n}", `edge_cache: key: header: given more than once`},
		{"key {\nignore_host yes\n}", `edge_cache: key: ignore_host: takes no argument`},
		{"client_control maybe", `edge_cache: client_control: invalid value "maybe"`},
		{"normalize_language", `edge_cache: normalize_language: needs at least one argument`},
		{"max_object_size 10XB", `edge_cache: max_object_size: invalid size "10XB": want bytes, such as 4096, 64KiB or 256MiB`},
		{"max_variants 0", `edge_cache: max_variants: `},
		{"max_variants x", `"x"`},
		{"collapse", `edge_cache: collapse: want off or a block`},
		{"collapse on", `edge_cache: collapse: want off or a block`},
		{"collapse {\nbogus 1\n}", `edge_cache: collapse: unknown option "bogus"`},
		{"collapse {\nwaiters 0\n}", `edge_cache: collapse: waiters: `},
		{"request_headers keep", `edge_cache: request_headers: invalid value "keep"`},
		{"deception_armor maybe", `edge_cache: deception_armor: expects on or off, got "maybe"`},
		{"development never", `edge_cache: development: invalid value "never"`},
		{"development -1h", `edge_cache: development: invalid value "-1h"`},
		{"purge_allow 300.1.1.1", `edge_cache: purge_allow: invalid address or CIDR "300.1.1.1"`},
	}
	for _, tt := range tests {
		t.Run(tt.lines, func(t *testing.T) {
			_, err := adapt(t, "{\n"+tt.lines+"\n}")
			require.ErrorContains(t, err, tt.want)
		})
	}
	_, err := adapt(t, "argument {\n}")
	require.ErrorContains(t, err, `edge_cache: takes a matcher (@name, a path, or *) and a block, got "`)
}
