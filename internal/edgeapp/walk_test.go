package edgeapp_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// startErr provisions a config and starts the edge app of it, and no other.
func startErr(t *testing.T, configJSON []byte) error {
	t.Helper()
	config := new(caddy.Config)
	require.NoError(t, json.Unmarshal(configJSON, config))
	require.NoError(t, json.Unmarshal([]byte(`{"logs":{"default":{"writer":{"output":"discard"}}}}`), &config.Logging))
	ctx, err := caddy.ProvisionContext(config)
	require.NoError(t, err)
	app, err := edgeapp.From(ctx)
	require.NoError(t, err)
	return app.Start()
}

func adapt(t *testing.T, text string) []byte {
	t.Helper()
	configJSON, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	require.NoError(t, err)
	return configJSON
}

func requireFaults(t *testing.T, err error, want []string) {
	t.Helper()
	if len(want) == 0 {
		require.NoError(t, err)
		return
	}
	require.Error(t, err)
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, len(want), "%v", err)
	for i, part := range want {
		require.Contains(t, lines[i], part)
	}
}

// hash is a bcrypt hash, the only form in which basic_auth takes passwords.
const hash = "$2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG"

// TestLeakRespondBehindCache: with the cache in front of respond, a denied
// client is served from the cache what an allowed one has put there.
func TestLeakRespondBehindCache(t *testing.T) {
	err := reloadtest.Load(t, `{"apps": {"http": {"servers": {"edge": {
		"listen": ["127.0.0.1:0"],
		"routes": [
			{"handle": [{"handler": "fake_cache"}]},
			{"match": [{"remote_ip": {"ranges": ["192.0.2.0/24"]}}], "handle": [{"handler": "static_response", "status_code": 403}]},
			{"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": "127.0.0.1:1"}]}]}
		]
	}}}}}`)
	require.ErrorContains(t, err, "http server edge (see caddy adapt): respond at routes/1/handle/0 depends on the client (remote_ip) and stands behind edge_cache at routes/0/handle/0")
	require.ErrorContains(t, err, "put it in front of edge_cache")

	text := `{
		order fake_cache before respond
	}
	http://example.com {
		@denied remote_ip 192.0.2.0/24
		respond @denied 403
		fake_cache
		reverse_proxy 127.0.0.1:1
	}`
	requireFaults(t, startErr(t, adapt(t, text)), []string{"respond at "})
	requireFaults(t, startErr(t, adapt(t, strings.Replace(text, "order fake_cache before", "order fake_cache after", 1))), nil)
}

// TestLeakBasicAuthInsideHandle: with the cache in front of a handle block, one
// user's page is served to everyone.
func TestLeakBasicAuthInsideHandle(t *testing.T) {
	text := `{
		order fake_cache before handle
	}
	http://example.com {
		fake_cache
		handle /admin/* {
			basic_auth {
				bob ` + hash + `
			}
			reverse_proxy 127.0.0.1:1
		}
		handle {
			reverse_proxy 127.0.0.1:1
		}
	}`
	err := startErr(t, adapt(t, text))
	requireFaults(t, err, []string{"authentication at "})
	require.ErrorContains(t, err, "(host example.com, path /admin/*) stands behind edge_cache at ")
	require.ErrorContains(t, err, "inside the same handle block")

	inside := `http://example.com {
		handle /admin/* {
			basic_auth {
				bob ` + hash + `
			}
			fake_cache
			reverse_proxy 127.0.0.1:1
		}
		handle {
			fake_cache
			reverse_proxy 127.0.0.1:1
		}
	}`
	requireFaults(t, startErr(t, adapt(t, inside)), nil)
}

func TestRoutesOfCaddyfiles(t *testing.T) {
	auth := "{\nbob " + hash + "\n}\n"
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"one line", `http://a.test {
			fake_cache
			reverse_proxy 127.0.0.1:1
		}`, nil},
		{"no cache", `http://a.test {
			basic_auth ` + auth + `
			respond "hi"
		}`, nil},
		{"no host", `:8080 {
			fake_cache
			file_server
		}`, nil},
		{"all usual directives in default order", `http://a.test {
			root * /srv
			root /x/* /srv/x
			@denied not client_ip 192.0.2.0/24
			respond @denied 403
			error /secret 404
			abort /never
			redir /old /new
			@mobile header User-Agent *Mobile*
			vars @mobile device mobile
			rewrite /r1 /r2
			rewrite /r3 /r4
			basic_auth /admin/* ` + auth + `
			forward_auth /member/* 127.0.0.1:2 {
				uri /check
			}
			request_header -X-Evil
			encode
			templates /t/*
			header Server edge
			intercept {
				@bad status 5xx
				handle_response @bad {
					respond "sorry"
				}
			}
			handle /old/* {
				fake_cache
				reverse_proxy 127.0.0.1:1
			}
			handle_path /api/* {
				fake_cache
				reverse_proxy 127.0.0.1:1
			}
			fake_cache
			reverse_proxy 127.0.0.1:1
			handle_errors {
				@client header Accept *json*
				respond @client "{}"
				respond "sorry"
			}
		}`, nil},
		{"php", `http://a.test {
			root * /srv
			fake_cache
			php_fastcgi 127.0.0.1:9000
			file_server
		}`, nil},
		{"php inside handle", `http://a.test {
			root * /srv
			handle {
				fake_cache
				php_fastcgi 127.0.0.1:9000
				file_server
			}
		}`, nil},
		{"single page app", `http://a.test {
			root * /srv
			handle /api/* {
				fake_cache
				reverse_proxy 127.0.0.1:1
			}
			handle {
				fake_cache
				try_files {path} /index.html
				file_server
			}
		}`, nil},
		{"several sites of which one is guarded", `http://a.test, http://b.test {
			fake_cache
			reverse_proxy 127.0.0.1:1
		}
		http://*.a.test {
			fake_cache
			reverse_proxy 127.0.0.1:1
		}
		http://c.test {
			basic_auth ` + auth + `
			reverse_proxy 127.0.0.1:1
		}`, nil},
		{"WebSocket beside the cache", `http://a.test {
			fake_cache
			@websocket {
				header Connection *Upgrade*
				header Upgrade websocket
			}
			reverse_proxy @websocket 127.0.0.1:2
			reverse_proxy 127.0.0.1:1
		}`, nil},
		{"WebSocket before a fallback", `http://a.test {
			route {
				fake_cache
				@websocket {
					header Connection *Upgrade*
					header Upgrade websocket
				}
				reverse_proxy @websocket 127.0.0.1:2
				respond 404
			}
		}`, nil},
		{"cache of disjoint paths in front of authentication", `http://a.test {
			route {
				fake_cache /static/* /img/*
				basic_auth /admin/* ` + auth + `
				reverse_proxy 127.0.0.1:1
			}
		}`, nil},
		{"cache of all other paths in front of authentication", `http://a.test {
			route {
				@public not path /admin /admin/*
				fake_cache @public
				basic_auth /admin/users/* ` + auth + `
				reverse_proxy 127.0.0.1:1
			}
		}`, nil},
		{"cache of overlapping paths", `http://a.test {
			route {
				fake_cache /admin/static/*
				basic_auth /admin/* ` + auth + `
				reverse_proxy 127.0.0.1:1
			}
		}`, []string{"authentication at "}},
		{"paths that a rewrite makes overlap", `http://a.test {
			route {
				fake_cache /static/*
				uri strip_prefix /static
				basic_auth /admin/* ` + auth + `
				reverse_proxy 127.0.0.1:1
			}
		}`, []string{"authentication at "}},
		{"cache of anonymous clients in front of authentication of the others", `http://a.test {
			route {
				@anonymous not header Authorization *
				@known header Authorization *
				fake_cache @anonymous
				basic_auth @known ` + auth + `
				reverse_proxy 127.0.0.1:1
			}
		}`, nil},
		{"authentication in another handle block", `http://a.test {
			handle /admin/* {
				basic_auth ` + auth + `
				reverse_proxy 127.0.0.1:1
			}
			handle {
				fake_cache
				reverse_proxy 127.0.0.1:1
			}
		}`, nil},
		{"forward_auth behind the cache", `http://a.test {
			route {
				fake_cache
				forward_auth 127.0.0.1:2 {
					uri /check
				}
				reverse_proxy 127.0.0.1:1
			}
		}`, []string{"forward_auth at "}},
		{"forward_auth in front of the cache in route", `http://a.test {
			route {
				forward_auth 127.0.0.1:2 {
					uri /check
				}
				fake_cache
				reverse_proxy 127.0.0.1:1
			}
		}`, nil},
		{"ordinary response handling behind the cache", `http://a.test {
			fake_cache
			reverse_proxy 127.0.0.1:1 {
				@bad status 5xx
				handle_response @bad {
					respond "sorry" 502
				}
			}
		}`, nil},
		{"client-dependent response handling behind the cache", `http://a.test {
			fake_cache
			reverse_proxy 127.0.0.1:1 {
				@bad status 5xx
				handle_response @bad {
					@json header Accept *json*
					respond @json "{}" 502
				}
			}
		}`, []string{"respond at "}},
		{"client-dependent abort and error", `http://a.test {
			route {
				fake_cache
				@a header X-A *
				abort @a
				@b {
					path /b
					not client_ip 192.0.2.0/24
				}
				error @b 403
				redir /c /d
				reverse_proxy 127.0.0.1:1
			}
		}`, []string{"abort at ", "error at "}},
		{"respond by path, method, query or file only", `http://a.test {
			route {
				fake_cache
				respond /health ok
				@bad {
					not method GET HEAD
					path_regexp ^/x
					protocol http
				}
				respond @bad 405
				@preview query preview=1
				respond @preview preview
				@missing not file
				respond @missing 404
				file_server
			}
		}`, nil},
		{"respond inside a client-dependent handle", `http://a.test {
			route {
				fake_cache
				handle @denied {
					respond 403
				}
				@denied client_ip 192.0.2.0/24
				reverse_proxy 127.0.0.1:1
			}
		}`, []string{"respond at "}},
		{"fallback for clients that were not let in", `http://a.test {
			route {
				fake_cache
				@inside client_ip 192.0.2.0/24
				handle @inside {
					reverse_proxy 127.0.0.1:1
				}
				handle {
					abort
				}
			}
		}`, []string{"reverse_proxy at "}},
		{"client-dependent variable behind the cache", `http://a.test {
			route {
				fake_cache
				@mobile header User-Agent *Mobile*
				vars @mobile device mobile
				respond "hi"
			}
		}`, []string{"vars at "}},
		{"cache within the client-dependent part", `http://a.test {
			handle @inside {
				fake_cache
				respond /x "x"
				reverse_proxy 127.0.0.1:1
			}
			@inside client_ip 192.0.2.0/24
			respond 403
		}`, nil},
		{"named routes", `&(app) {
			fake_cache
			reverse_proxy 127.0.0.1:1
		}
		http://a.test {
			invoke app
		}
		http://b.test {
			basic_auth ` + auth + `
			invoke app
		}`, nil},
		{"authentication in a named route behind the cache", `&(guarded) {
			basic_auth ` + auth + `
			reverse_proxy 127.0.0.1:1
		}
		http://a.test {
			route {
				fake_cache
				invoke guarded
			}
		}`, []string{"authentication at "}},
		{"cache after respond", `http://a.test {
			respond "hi"
			fake_cache
		}`, []string{"can never be reached"}},
		{"cache outside of handle blocks", `http://a.test {
			fake_cache
			handle /a/* {
				reverse_proxy 127.0.0.1:1
			}
			handle {
				reverse_proxy 127.0.0.1:2
			}
		}`, []string{"can never be reached"}},
		{"cache behind handle blocks without a fallback", `http://a.test {
			fake_cache
			handle /a/* {
				reverse_proxy 127.0.0.1:1
			}
			reverse_proxy 127.0.0.1:2
		}`, nil},
		{"cache behind handle blocks that go on", `http://a.test {
			fake_cache
			handle /a/* {
				header X-A 1
			}
			handle {
				header X-A 2
			}
			reverse_proxy 127.0.0.1:2
		}`, nil},
		{"cache behind a proxy in a subroute", `http://a.test {
			route {
				route {
					reverse_proxy 127.0.0.1:1
				}
				fake_cache
			}
		}`, []string{"can never be reached"}},
		{"cache in error routes", `http://a.test {
			error 404
			handle_errors {
				fake_cache
				reverse_proxy 127.0.0.1:1
			}
		}`, nil},
		{"cache in error routes beside that of the pages", `http://a.test {
			fake_cache
			reverse_proxy 127.0.0.1:1
			handle_errors {
				fake_cache
				reverse_proxy 127.0.0.1:2
			}
		}`, []string{"chosen by an error, so"}},
		{"cache in error routes with a namespace", `http://a.test {
			fake_cache
			reverse_proxy 127.0.0.1:1
			handle_errors {
				fake_cache errors
				reverse_proxy 127.0.0.1:2
			}
		}`, nil},
		{"two caches by path", `http://a.test {
			fake_cache /a/*
			fake_cache /a/b/*
			reverse_proxy 127.0.0.1:1
		}`, nil},
		{"two caches by header", `http://a.test {
			@mobile header User-Agent *Mobile*
			handle @mobile {
				fake_cache
				reverse_proxy 127.0.0.1:1
			}
			handle {
				fake_cache
				reverse_proxy 127.0.0.1:2
			}
		}`, []string{`chosen by header {"User-Agent":["*Mobile*"]}, so that`}},
		{"two caches by header with a namespace", `http://a.test {
			@mobile header User-Agent *Mobile*
			handle @mobile {
				fake_cache mobile
				reverse_proxy 127.0.0.1:1
			}
			handle {
				fake_cache
				reverse_proxy 127.0.0.1:2
			}
		}`, nil},
		{"two caches by header on paths that differ", `http://a.test {
			handle_path /a/* {
				@mobile header User-Agent *Mobile*
				fake_cache @mobile
				reverse_proxy 127.0.0.1:1
			}
			handle_path /b/* {
				fake_cache
				reverse_proxy 127.0.0.1:2
			}
		}`, nil},
		{"two caches by header on hosts that differ", `http://a.test {
			@mobile header User-Agent *Mobile*
			fake_cache @mobile
			reverse_proxy 127.0.0.1:1
		}
		http://*.test {
			fake_cache
			reverse_proxy 127.0.0.1:2
		}
		http:// {
			fake_cache other
			reverse_proxy 127.0.0.1:2
		}`, nil},
		{"same conditions on two caches", `http://a.test {
			@json header Accept *json*
			@jsonAPI {
				path /api/*
				header Accept *json*
			}
			fake_cache @jsonAPI
			fake_cache @json
			reverse_proxy 127.0.0.1:1
		}`, nil},
		{"two caches by expression", `http://a.test {
			@x expression {http.request.header.X} == "1"
			fake_cache @x
			handle @x {
				fake_cache
				respond /x "x"
			}
			fake_cache /other/*
			reverse_proxy 127.0.0.1:1
		}`, []string{"chosen by", "chosen by"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			requireFaults(t, startErr(t, adapt(t, test.text)), test.want)
		})
	}
}
