package edgelimit

import (
	"encoding/json"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/stretchr/testify/require"
)

// adapt returns the handlers of one name that a Caddyfile gives, in order.
func adapt(t *testing.T, text, name string) ([]string, error) {
	t.Helper()
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil {
		return nil, err
	}
	var found []string
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if v["handler"] == name {
				delete(v, "handler")
				text, err := json.Marshal(v)
				require.NoError(t, err)
				found = append(found, string(text))
				return
			}
			for _, inner := range v {
				walk(inner)
			}
		case []any:
			for _, inner := range v {
				walk(inner)
			}
		}
	}
	var config any
	require.NoError(t, json.Unmarshal(adapted, &config))
	walk(config)
	return found, nil
}

func TestLimitCaddyfile(t *testing.T) {
	for text, want := range map[string]string{
		"edge_limit":                         `{"zones": [{"name": "default", "rate": "100/s"}]}`,
		"edge_limit 5/m":                     `{"zones": [{"name": "default", "rate": "5/m"}]}`,
		"edge_limit {\n burst 7\n}":          `{"zones": [{"name": "default", "rate": "100/s", "burst": 7}]}`,
		"edge_limit {\n mode off\n}":         `{"mode": "off", "zones": [{"name": "default", "rate": "100/s"}]}`,
		"edge_limit {\n rules x.yaml\n}":     `{"rules": "x.yaml"}`,
		"edge_limit 1/s {\n rules x.yaml\n}": `{"rules": "x.yaml", "zones": [{"name": "default", "rate": "1/s"}]}`,
		"edge_limit {\n concurrency 3\n}":    `{"zones": [{"name": "default", "concurrency": 3}]}`,
		"edge_limit {\n zone a 1/s\n}":       `{"zones": [{"name": "a", "rate": "1/s"}]}`,
		"edge_limit 2/s {\n zone a 1/s\n}":   `{"zones": [{"name": "default", "rate": "2/s"}, {"name": "a", "rate": "1/s"}]}`,
		`@m path /x
		edge_limit {
			zone a {
				match @m
				key "{client_ip} {header.X-Key}"
				ipv4_prefix 24 16
				ipv6_prefix 56
				outer_factor 5
				window 10/30s
				concurrency 2
				penalty 5m
				count status 401 4xx
				cost {header.X-Cost}
				exempt 10.0.0.0/8 @m /y
				exempt ::1
				mode shadow
				keys 1000
			}
			zone b 1/s {
				burst 9
				cluster
			}
			mode enforce
			status 503
			body hello
			header X-A 1
			header X-A 2
			ratelimit_fields always
			respond error
			notice 5s
		}`: `{"zones": [
			{"name": "a", "match": [{"path": ["/x"]}], "key": "{http.vars.client_ip} {http.request.header.X-Key}", "ipv4_prefix": 24, "ipv4_outer": 16,
			 "ipv6_prefix": 56, "outer_factor": 5, "window": "10/30s", "concurrency": 2, "penalty": 300000000000, "count_status": [401, 4],
			 "cost": "{http.request.header.X-Cost}", "exempt": ["10.0.0.0/8", "::1"], "exempt_match": [{"path": ["/x"]}, {"path": ["/y"]}], "mode": "shadow", "keys": 1000},
			{"name": "b", "rate": "1/s", "burst": 9, "cluster": true}
		], "mode": "enforce", "status": 503, "body": "hello", "header": {"X-A": ["1", "2"]}, "ratelimit_fields": "always", "respond": "error", "notice": 5000000000}`,
	} {
		got, err := adapt(t, ":80 {\n"+text+"\n}", "edge_limit")
		require.NoError(t, err, text)
		require.Len(t, got, 1)
		require.JSONEq(t, want, got[0], text)
	}
}

// TestNamesOfZones: directives without a name share nothing, unless they are
// told to.
func TestNamesOfZones(t *testing.T) {
	got, err := adapt(t, `{
	}
	&(named) {
		edge_limit 4/s
	}
	:80 {
		edge_limit 1/s
		edge_adaptive
	}
	:81 {
		route {
			edge_limit 2/s
			invoke named
		}
		edge_adaptive
	}`, "edge_limit")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{
		`{"zones":[{"name":"default","rate":"1/s"}]}`, `{"zones":[{"name":"default-2","rate":"2/s"}]}`, `{"zones":[{"name":"default-route","rate":"4/s"}]}`,
	}, got)
	got, err = adapt(t, ":80 {\nedge_adaptive\n}\n:81 {\nedge_adaptive {\nname own\n}\n}\n:82 {\nedge_adaptive\n}", "edge_adaptive")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{`{"name":"default"}`, `{"name":"own"}`, `{"name":"default-2"}`}, got)
}

func TestCaddyfileErrors(t *testing.T) {
	for text, want := range map[string]string{
		"edge_limit 0/s":                                    `edge_limit: invalid rate "0/s"`,
		"edge_limit x":                                      `edge_limit: invalid rate "x"`,
		"edge_limit 1/s 2/s":                                `edge_limit: takes a matcher and a rate, got "2/s" too`,
		"edge_limit {\n rate 1/s\n rate 2/s\n}":             "edge_limit: rate: given more than once",
		"edge_limit 1/s {\n rate 2/s\n}":                    "edge_limit: rate: given more than once",
		"edge_limit {\n nonsense\n}":                        `edge_limit: unknown option "nonsense"`,
		"edge_limit {\n burst 0\n}":                         `edge_limit: burst: `,
		"edge_limit {\n zone\n}":                            "edge_limit: zone: needs a name",
		"edge_limit {\n zone a 1/s\n zone a 2/s\n}":         "edge_limit: zone a: given more than once",
		"edge_limit {\n zone a 1/s {\n rate 2/s\n }\n}":     "edge_limit: zone a: rate: given more than once",
		"edge_limit {\n zone a 1/s {\n status 500\n }\n}":   `edge_limit: zone a: unknown option "status"`,
		"edge_limit {\n zone a {\n match\n }\n}":            "edge_limit: zone a: match: needs a matcher",
		"edge_limit {\n zone a {\n match @none\n }\n}":      "@none",
		"edge_limit {\n zone a {\n match /a /b\n }\n}":      `edge_limit: zone a: match: takes one matcher, got ["/b"] too`,
		"edge_limit {\n zone 10/s {\n }\n}":                 "edge_limit: zone: needs a name in front of the rate 10/s, such as zone login 10/s",
		"edge_limit {\n zone a/b 10/s\n}":                   `edge_limit: zone a/b: name: invalid value "a/b": want letters`,
		"edge_limit {\n zone a {\n ipv4_prefix 33\n }\n}":   `edge_limit: zone a: ipv4_prefix: invalid number of bits "33"`,
		"edge_limit {\n zone a {\n ipv6_prefix 64 x\n }\n}": `edge_limit: zone a: ipv6_prefix: invalid number of bits "x"`,
		"edge_limit {\n zone a {\n count 401\n }\n}":        "edge_limit: zone a: count: want status",
		"edge_limit {\n zone a {\n count status 6xx\n }\n}": `edge_limit: zone a: count: invalid status "6xx"`,
		"edge_limit {\n zone a {\n penalty soon\n }\n}":     `edge_limit: zone a: penalty: `,
		"edge_limit {\n zone a {\n exempt\n }\n}":           "edge_limit: zone a: exempt: needs at least one",
		"edge_limit {\n key \"\"\n}":                        "edge_limit: key: is empty",
		"edge_limit {\n header X-A\n}":                      "edge_limit: header: needs a field and a value",
		"edge_limit {\n status 200\n}":                      "edge_limit: status: ",
		"edge_limit {\n mode on\n}":                         `edge_limit: mode: invalid value "on"`,
		"edge_adaptive x {\n}":                              `edge_adaptive: takes a matcher and a block, got "x"`,
		"edge_adaptive {\n p95 fast\n}":                     "edge_adaptive: p95: ",
		"edge_adaptive {\n queue 0\n}":                      `edge_adaptive: queue: invalid number "0"`,
		"edge_adaptive {\n queue 5 x\n}":                    `edge_adaptive: queue: invalid duration "x"`,
		"edge_adaptive {\n queue 5 1s 2s\n}":                "edge_adaptive: queue: needs a number",
		"edge_adaptive {\n priority low\n}":                 "edge_adaptive: priority: needs a matcher",
		"edge_adaptive {\n priority\n}":                     "edge_adaptive: priority: needs a class",
		"edge_adaptive {\n reduction x\n}":                  `edge_adaptive: reduction: invalid factor "x"`,
		"edge_adaptive {\n status 500\n}":                   `edge_adaptive: status: invalid value "500"`,
		"edge_adaptive {\n mode fast\n}":                    `edge_adaptive: mode: invalid value "fast"`,
		"edge_adaptive {\n nonsense\n}":                     `edge_adaptive: unknown option "nonsense"`,
	} {
		_, err := adapt(t, ":80 {\n"+text+"\n}", "")
		require.ErrorContains(t, err, want, text)
		if want != "@none" { // Caddy's own error
			require.ErrorContains(t, err, "Caddyfile:", text)
		}
	}
}

func TestAdaptiveCaddyfile(t *testing.T) {
	for text, want := range map[string]string{
		"edge_adaptive": `{"name": "default"}`,
		`edge_adaptive {
			p95 250ms
			baseline 8
			min 5
			max 50
			initial 7
			uploads 3
			streams 4
			fair_share off
			key {header.X-Key}
			queue 9 50ms
			priority high /pay
			priority low *
			priority_header X-Priority
			status 429
		}`: `{"name": "default", "p95": 250000000, "baseline": 8, "min": 5, "max": 50, "initial": 7, "uploads": 3, "streams": 4, "fair_share_off": true,
			"key": "{http.request.header.X-Key}", "queue": 9, "queue_deadline": 50000000,
			"priorities": [{"class": "high", "match": [{"path": ["/pay"]}]}, {"class": "low"}], "priority_header": "X-Priority", "status": 429}`,
		`edge_adaptive {
			name loop
			mode rate
			p95 1s
			interval 5s
			reduction 0.5
			recovery 1.2
			recover_below 0.6
		}`: `{"name": "loop", "mode": "rate", "p95": 1000000000, "rate": {"interval": 5000000000, "reduction": 0.5, "recovery": 1.2, "recover_below": 0.6}}`,
	} {
		got, err := adapt(t, ":80 {\n"+text+"\n}", "edge_adaptive")
		require.NoError(t, err, text)
		require.Len(t, got, 1)
		require.JSONEq(t, want, got[0], text)
	}
}
