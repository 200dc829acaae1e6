package edgetunnel

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// adaptError is what is wrong with a Caddyfile, or with the config that it makes.
func adaptError(t *testing.T, text string) string {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err == nil {
		err = reloadtest.Load(t, string(config))
	}
	require.Error(t, err, text)
	return err.Error()
}

func TestBadHandlers(t *testing.T) {
	hash := hashOf(t, secret)
	for options, want := range map[string]string{
		"":                          `edge_tunnel: token: is missing; "caddy edge tunnel token" makes one`,
		"token home":                "edge_tunnel: token: wants an id, the SHA-256 of a secret, and the backends that it is for, or * for all; got 1 of them",
		"token home " + hash:        "got 2 of them",
		"token home abc app":        "edge_tunnel: token: home: want the SHA-256 of a secret in 64 hexadecimal digits",
		"token Home " + hash + " x": `edge_tunnel: token: invalid name "Home"`,
		"token a " + hash + " B":    `edge_tunnel: token: a: invalid name "B"`,
		"token a " + hash + " x\ntoken a " + hash + " y":       "edge_tunnel: token: a is given twice",
		"token a " + hash + " x {\ncertificate\n}":             "edge_tunnel: token: certificate: needs at least one argument",
		"token a " + hash + " x {\nother\n}":                   `edge_tunnel: token: unknown option "other"`,
		"token a " + hash + " x\nname A":                       `edge_tunnel: name: invalid name "A"`,
		"token a " + hash + " x\nheartbeat 1ms":                "edge_tunnel: heartbeat: invalid duration 1ms: must be from 200ms to 1m0s",
		"token a " + hash + " x\nheartbeat 2h":                 "edge_tunnel: heartbeat: invalid duration 2h0m0s",
		"token a " + hash + " x\nheartbeat x":                  `edge_tunnel: heartbeat: invalid duration "x"`,
		"token a " + hash + " x\nmax_streams 0":                `edge_tunnel: max_streams: invalid number "0"`,
		"token a " + hash + " x\nmax_agents -1":                `edge_tunnel: max_agents: invalid number "-1"`,
		"token a " + hash + " x\nmemory 1KiB":                  "edge_tunnel: memory: invalid size 1024: must be 1MiB at least",
		"token a " + hash + " x\ndrain 2h":                     "edge_tunnel: drain: invalid duration 2h0m0s",
		"token a " + hash + " x\nmemory 1MiB\nmemory 2MiB":     "edge_tunnel: memory: given more than once",
		"token a " + hash + " x\nother":                        `edge_tunnel: unknown option "other"`,
		"token a {$NO_SUCH_VARIABLE:{env.NO_SUCH_VARIABLE}} x": "edge_tunnel: token: a: ",
	} {
		text := "{\n\tauto_https off\n}\n:1 {\n\tedge_tunnel {\n" + options + "\n\t}\n}\n"
		got := adaptError(t, text)
		require.Contains(t, got, want)
		if !strings.Contains(options, "NO_SUCH") {
			require.Contains(t, got, "Caddyfile:", "the line: %s", got)
		}
	}
	require.Contains(t, adaptError(t, ":1 {\n\tedge_tunnel now\n}"), "wrong argument count")
}

func TestBadProxies(t *testing.T) {
	for proxy, want := range map[string]string{
		"dynamic edge_tunnel\ntransport edge_tunnel":                                     "dynamic edge_tunnel: backend: wants the name of one backend, got 0",
		"dynamic edge_tunnel a b\ntransport edge_tunnel":                                 "wants the name of one backend, got 2",
		"dynamic edge_tunnel A\ntransport edge_tunnel":                                   `dynamic edge_tunnel: invalid name "A"`,
		"dynamic edge_tunnel a {\nwait 2h\n}\ntransport edge_tunnel":                     "dynamic edge_tunnel: wait: invalid duration 2h0m0s: must be 1m0s at most",
		"dynamic edge_tunnel a {\nother\n}\ntransport edge_tunnel":                       `dynamic edge_tunnel: unknown option "other"`,
		"dynamic edge_tunnel a":                                                          `dynamic edge_tunnel: the reverse_proxy needs "transport edge_tunnel"`,
		"to 127.0.0.1:1\ntransport edge_tunnel":                                          `transport edge_tunnel: the upstream 127.0.0.1:1 is no agent: want "dynamic edge_tunnel NAME"`,
		"dynamic edge_tunnel a\ntransport edge_tunnel x":                                 "wrong argument count",
		"dynamic edge_tunnel a\ntransport edge_tunnel {\naccept_timeout 48h\n}":          "transport edge_tunnel: accept_timeout: invalid duration 48h0m0s",
		"dynamic edge_tunnel a\ntransport edge_tunnel {\nresponse_header_timeout -1s\n}": "transport edge_tunnel: response_header_timeout: invalid duration",
		"dynamic edge_tunnel a\ntransport edge_tunnel {\nforward_user a b c\n}":          "transport edge_tunnel: forward_user: wants a header field and a value at most, got 3",
		"dynamic edge_tunnel a\ntransport edge_tunnel {\nforward_user \"a b\"\n}":        `transport edge_tunnel: forward_user: invalid header field "a b"`,
		"dynamic edge_tunnel a\ntransport edge_tunnel {\nstrip_credentials x\n}":         "transport edge_tunnel: strip_credentials: takes no argument",
		"dynamic edge_tunnel a\ntransport edge_tunnel {\nother\n}":                       `transport edge_tunnel: unknown option "other"`,
	} {
		require.Contains(t, adaptError(t, "{\n\tauto_https off\n}\n:1 {\n\treverse_proxy {\n"+proxy+"\n\t}\n}\n"), want, proxy)
	}
}

func TestBadAgents(t *testing.T) {
	const good = "edge https://edge.example.com\ntoken a.b\n"
	for options, want := range map[string]string{
		"token a.b":                                     "edge_agent: edge: is missing",
		"edge https://e":                                "edge_agent: token: want either token or token_file",
		good + "token_file x":                           "edge_agent: token: want either token or token_file",
		"edge ftp://e\ntoken a.b":                       `edge_agent: edge: invalid URL "ftp://e": want https://HOST`,
		"edge https://u:p@e\ntoken a.b":                 "must have no user, query or fragment",
		"edge e\ntoken a.b":                             `edge_agent: edge: invalid URL "e"`,
		"edge https://e\ntoken verysecret":              "edge_agent: token: a token consists of an id, a dot and a secret",
		"edge https://e\ntoken_file /no/such":           "edge_agent: token: open /no/such",
		good + "name A":                                 `edge_agent: name: invalid name "A"`,
		good + "data_conns 17":                          "edge_agent: data_conns: invalid number 17: must be from 0 to 16",
		good + "drain 2h":                               "edge_agent: drain: invalid duration 2h0m0s",
		good + "ca /no/such":                            "edge_agent: ca: open /no/such",
		good + "certificate x":                          "edge_agent: certificate: wants two files",
		good + "certificate /no/such /no/such":          "edge_agent: certificate: open /no/such",
		good + "backend app":                            "edge_agent: backend: wants a name and an address",
		good + "backend App x:1":                        `edge_agent: backend: App: invalid name "App"`,
		good + "backend app ftp://x":                    `edge_agent: backend: app: to: invalid address "ftp://x": the scheme must be http, https or h2c`,
		good + "backend app http://":                    `edge_agent: backend: app: to: invalid address "http://"`,
		good + "backend app unix/":                      `want unix//PATH`,
		good + "backend app 8080":                       `edge_agent: backend: app: to: invalid address "8080": want HOST:PORT`,
		good + "backend app localhost:99999":            `to: invalid address "localhost:99999"`,
		good + "backend app tcp/localhost:80":           `to: invalid address "tcp/localhost:80"`,
		"edge https://e:99999\ntoken a.b":               `edge_agent: edge: invalid URL "https://e:99999"`,
		"edge https://e https://f https://e\ntoken a.b": "edge_agent: edge: https://e is given twice",
		good + "backend app x:1 {\npaths /a/*\n}":       `paths: invalid value "/a/*"`,
		good + "backend app x:1\nbackend app y:1":       "edge_agent: backend: app: is given twice",
		good + "backend app x:1 {\nweight 70000\n}":     "edge_agent: backend: app: weight: invalid number 70000",
		good + "backend app x:1 {\nweight x\n}":         `edge_agent: backend app: weight: invalid number "x"`,
		good + "backend app x:1 {\npaths a\n}":          `edge_agent: backend: app: paths: invalid value "a": must begin with /, and is no pattern`,
		good + "backend app x:1 {\nstrip_prefix a\n}":   "strip_prefix: invalid value",
		good + "backend app x:1 {\nhealth_uri a\n}":     "health_uri: invalid value",
		good + "backend app x:1 {\nhost a/b\n}":         "host: invalid value",
		good + "backend app x:1 {\nother\n}":            `edge_agent: backend app: unknown option "other"`,
		good + "other":                                  `edge_agent: unknown option "other"`,
	} {
		got := adaptError(t, "{\n\tauto_https off\n\tedge_agent {\n"+options+"\n\t}\n}\n")
		require.Contains(t, got, want, options)
		require.NotContains(t, got, "verysecret")
	}
	require.Contains(t, adaptError(t, "{\n\tauto_https off\n}\nhttp://x {\n\tbind edge_tunnel/app\n}"), "bind edge_tunnel/app: needs the global option edge_agent")
	require.Contains(t, adaptError(t, "{\n\tauto_https off\n\tedge_agent {\n"+good+"\n}\n}\nx {\n\tbind edge_tunnel/app\n}"), "the address of the site must begin with http://")
}

// TestEqualHandlers wants handlers of one name to be the same.
func TestEqualHandlers(t *testing.T) {
	hash := hashOf(t, secret)
	site := func(port, name, token string) string {
		return ":" + port + " {\n\tedge_tunnel {\n" + name + "\ntoken " + token + " " + hash + " app\n\t}\n}\n"
	}
	global := "{\n\tauto_https off\n}\n"
	one, two := freePort(t), freePort(t)
	require.Contains(t, adaptError(t, global+site(one, "", "a")+site(two, "", "b")), "edge_tunnel default: defined twice")
	require.NoError(t, reloadtest.Load(t, adapt(t, global+site(one, "", "a")+site(two, "", "a"))))
	require.NoError(t, reloadtest.Load(t, adapt(t, global+site(one, "", "a")+site(two, "name other", "b"))))
}

// TestAdapted holds the JSON of all options.
func TestAdapted(t *testing.T) {
	hash := hashOf(t, secret)
	config := adapt(t, `{
	edge_agent {
		edge https://a.example.com https://b.example.com/tunnel
		name site
		token_file /run/token
		ca ca.pem
		certificate cert.pem key.pem
		data_conns 2
		drain 10s
		backend app localhost:8080 {
			weight 2
			host app.internal
			strip_prefix /app
			paths /app
			strip_credentials
			insecure_skip_verify
			dial_timeout 1s
			max_requests 10
			health_uri /health
			health_interval 5s
			health_timeout 1s
			health_fails 3
		}
	}
}
edge.example.com {
	edge_tunnel /tunnel {
		name other
		token home `+hash+` app api {
			certificate agent.example.com
		}
		client_certificate a b
		heartbeat 1s
		max_streams 10
		max_agents 3
		memory 2MiB
		drain 1m
	}
	reverse_proxy {
		dynamic edge_tunnel app {
			wait 5s
		}
		transport edge_tunnel {
			accept_timeout 1s
			response_header_timeout 2s
			forward_user X-User {http.auth.user.name}
			strip_credentials
		}
	}
}
`)
	for _, want := range []string{
		`{"backends":[{"dial_timeout":1000000000,"health_fails":3,"health_interval":5000000000,"health_timeout":1000000000,"health_uri":"/health","host":"app.internal","insecure_skip_verify":true,"max_requests":10,"name":"app","paths":["/app"],"strip_credentials":true,"strip_prefix":"/app","to":"localhost:8080","weight":2}],"ca":["ca.pem"],"certificate":"cert.pem","data_conns":2,"drain":10000000000,"edges":["https://a.example.com","https://b.example.com/tunnel"],"key":"key.pem","name":"site","token_file":"/run/token"}`,
		`{"client_certificate":{"names":["a","b"]},"drain":60000000000,"handler":"edge_tunnel","heartbeat":1000000000,"max_agents":3,"max_streams":10,"memory":2097152,"name":"other","tokens":[{"backends":["app","api"],"certificates":["agent.example.com"],"id":"home","sha256":"` + hash + `"}]}`,
		`{"backend":"app","source":"edge_tunnel","wait":5000000000}`,
		`{"accept_timeout":1000000000,"forward_user":{"header":"X-User","value":"{http.auth.user.name}"},"protocol":"edge_tunnel","response_header_timeout":2000000000,"strip_credentials":true}`,
	} {
		require.Contains(t, sorted(t, config), want)
	}
}

// sorted brings the keys of JSON into order.
func sorted(t *testing.T, text string) string {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal([]byte(text), &v))
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}
