package caddyfile_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/stretchr/testify/require"
)

// named is a route for invoke.
const named = "&(named) {\nvars in invoke\n}\n"

// directives are the standard directives that become handlers and all edge
// directives, in the order of the alphabet.
var directives = []string{
	"abort /abort",
	"acme_server /acme/*",
	"basic_auth {\n bob $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}",
	"edge_adaptive",
	"edge_breaker",
	"edge_cache",
	"edge_guard",
	"edge_limit",
	"edge_tunnel {\n token a 666da39683540cb37664cd39bc28ca89a2d31b24804e56d99d59dc9ab3e685cb app\n}",
	"edge_waf",
	"encode gzip",
	"error /error 404",
	"file_server",
	"forward_auth 127.0.0.1:2 {\n uri /auth\n}",
	"handle /handle/* {\n vars in handle\n}",
	"handle_path /handle_path/* {\n vars in handle_path\n}",
	"header X-Order 1",
	"intercept {\n handle_response {\n  copy_response_headers {\n   include A\n  }\n  copy_response\n }\n}",
	"invoke named",
	"map {host} {x} {\n default y\n}",
	"metrics /metrics",
	"method GET",
	"php_fastcgi 127.0.0.1:3",
	"push /push",
	"redir /redir /other",
	"request_body {\n max_size 1\n}",
	"request_header X-Order 1",
	"respond /respond x",
	"reverse_proxy 127.0.0.1:1",
	"rewrite /rewrite /other",
	"route /route {\n vars in route\n}",
	"templates",
	"tracing",
	"try_files {path} /try",
	"uri strip_prefix /uri",
	"vars a b",
}

// TestOrder holds the place of each edge directive among the standard ones: on
// the top level of a site and inside handle as the order has it, inside route as
// written.
func TestOrder(t *testing.T) {
	const file = "testdata/order.golden"
	block := strings.Join(directives, "\n")
	got := "# top level\n" + handlers(t, named+":8080 {\n"+block+"\n}") +
		"# handle\n" + handlers(t, named+":8080 {\nhandle {\n"+block+"\n}\n}") +
		"# route\n" + handlers(t, named+":8080 {\nroute {\n"+block+"\n}\n}")
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
		return
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// handlers lists the handlers of a Caddyfile in the order of their execution,
// one a line, without the subroutes around them.
func handlers(t *testing.T, text string) string {
	t.Helper()
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	require.NoError(t, err)
	var config struct {
		Apps struct {
			HTTP struct {
				Servers map[string]route `json:"servers"`
			} `json:"http"`
		} `json:"apps"`
	}
	require.NoError(t, json.Unmarshal(adapted, &config))
	require.Len(t, config.Apps.HTTP.Servers, 1)
	return strings.Join(config.Apps.HTTP.Servers["srv0"].names(), "\n") + "\n"
}

// route is a route, a subroute or a server, as far as handlers needs it.
type route struct {
	Handler string         `json:"handler"`
	Handle  []route        `json:"handle"`
	Routes  []route        `json:"routes"`
	Abort   bool           `json:"abort"`
	Headers map[string]any `json:"headers"`

	// What tells apart the directives that become one handler.
	In              string `json:"in"` // of vars
	Request         any    `json:"request"`
	StripPathPrefix string `json:"strip_path_prefix"`
	Method          string `json:"method"`
	URI             string `json:"uri"`
	Rewrite         any    `json:"rewrite"`
	Transport       struct {
		Protocol string `json:"protocol"`
	} `json:"transport"`
}

// names returns the directives that made the handlers.
func (r route) names() (names []string) {
	switch {
	case r.Handler == "vars" && r.In != "":
		return []string{r.In}
	case r.Handler == "headers" && r.Request != nil:
		return []string{"request_header"}
	case r.Handler == "headers":
		return []string{"header"}
	case r.Handler == "rewrite" && r.StripPathPrefix != "/uri" && r.StripPathPrefix != "":
		return nil // of handle_path, inside
	case r.Handler == "rewrite" && r.StripPathPrefix != "":
		return []string{"uri"}
	case r.Handler == "rewrite" && r.Method != "":
		return []string{"method"}
	case r.Handler == "rewrite" && r.URI != "/other":
		return []string{"try_files"}
	case r.Transport.Protocol == "fastcgi", r.Headers["Location"] != nil && fmt.Sprint(r.Headers["Location"]) != "[/other]":
		return []string{"php_fastcgi"} // in three parts: this, try_files, and this
	case r.Handler == "reverse_proxy" && r.Rewrite != nil:
		return []string{"forward_auth"}
	case r.Handler == "static_response" && r.Abort:
		return []string{"abort"}
	case r.Handler == "static_response" && r.Headers["Location"] != nil:
		return []string{"redir"}
	case r.Handler == "static_response":
		return []string{"respond"}
	case r.Handler != "" && r.Handler != "subroute":
		return []string{r.Handler}
	}
	for _, inner := range append(r.Handle, r.Routes...) {
		names = append(names, inner.names()...)
	}
	return names
}
