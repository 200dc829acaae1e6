package edgeapp_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/edgeapp"
)

func init() {
	caddy.RegisterModule(new(fakeBreaker))
	caddy.RegisterModule(new(fakePolicy))
	httpcaddyfile.RegisterHandlerDirective("fake_breaker", parseFakeBreaker)
	httpcaddyfile.RegisterDirectiveOrder("fake_breaker", httpcaddyfile.Before, "reverse_proxy")
}

// told is what the breakers of a test were told, by name.
var told = make(map[string][]edgeapp.ProxiesBehind)

// fakeBreaker is a handler that the app takes for a breaker. The block
// "instead" has the routes of its fallback.
type fakeBreaker struct {
	Name   string              `json:"name"`
	Routes caddyhttp.RouteList `json:"routes,omitempty"`
}

func (*fakeBreaker) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.fake_breaker", New: func() caddy.Module { return new(fakeBreaker) }}
}

func (b *fakeBreaker) Provision(ctx caddy.Context) error {
	if _, err := edgeapp.From(ctx); err != nil {
		return err
	}
	return b.Routes.Provision(ctx)
}

func (*fakeBreaker) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return next.ServeHTTP(w, r)
}

func (b *fakeBreaker) EdgeFallback() caddyhttp.RouteList { return b.Routes }

func (b *fakeBreaker) EdgeProxies(behind edgeapp.ProxiesBehind) {
	told[b.Name] = append(told[b.Name], behind)
}

func parseFakeBreaker(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // consume directive name
	b := new(fakeBreaker)
	if !h.AllArgs(&b.Name) {
		return nil, h.ArgErr()
	}
	for h.NextBlock(0) { // instead
		routes, err := httpcaddyfile.ParseSegmentAsSubroute(h.WithDispenser(h.NewFromNextSegment()))
		if err != nil {
			return nil, err
		}
		b.Routes = routes.(*caddyhttp.Subroute).Routes
	}
	return b, nil
}

// fakePolicy is one that asks the breaker.
type fakePolicy struct{ reverseproxy.RandomSelection }

func (*fakePolicy) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.selection_policies.fake", New: func() caddy.Module { return new(fakePolicy) }}
}

func (*fakePolicy) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return nil
}

func (*fakePolicy) Provision(ctx caddy.Context) error {
	app, err := edgeapp.From(ctx)
	if err != nil {
		return err
	}
	modules := ctx.Modules()
	own := false
	for _, m := range slices.Backward(modules[:len(modules)-1]) {
		if h, ok := m.(*reverseproxy.Handler); ok {
			own = modules[len(modules)-2] == m
			app.Asks(h, own)
			break
		}
	}
	return nil
}

// proxies describes what was told, without the places.
func proxies(b edgeapp.ProxiesBehind) string {
	return fmt.Sprintf("asking %d bound %d plain %d cached %d inner %d", len(b.Asking), len(b.Bound), len(b.Plain), len(b.Cached), len(b.Inner))
}

// TestProxiesBehind: a breaker is told which proxies its requests may come to.
func TestProxiesBehind(t *testing.T) {
	const (
		plain  = "reverse_proxy 127.0.0.1:1\n"
		asking = "reverse_proxy 127.0.0.1:1 {\nlb_policy fake\n}\n"
		bound  = "reverse_proxy 127.0.0.1:1 {\nlb_policy cookie lb {\nfallback header X-A {\nfallback fake\n}\n}\n}\n"
	)
	for _, test := range []struct{ name, site, want string }{
		{"plain", "fake_breaker a\n" + plain, "asking 0 bound 0 plain 1 cached 0 inner 0"},
		{"asking", "fake_breaker a\n" + asking, "asking 1 bound 0 plain 0 cached 0 inner 0"},
		{"inside of policies", "fake_breaker a\n" + bound, "asking 1 bound 1 plain 0 cached 0 inner 0"},
		{"both", "fake_breaker a\nreverse_proxy /b 127.0.0.1:1\n" + asking, "asking 1 bound 0 plain 1 cached 0 inner 0"},
		{"none", "fake_breaker a\nfile_server", "asking 0 bound 0 plain 0 cached 0 inner 0"},
		{"paths that exclude each other", "fake_breaker /a* a\nreverse_proxy /b* 127.0.0.1:1\n" + asking, "asking 1 bound 0 plain 0 cached 0 inner 0"},
		{"in blocks", "route {\nfake_breaker a\nhandle /b* {\n" + plain + "}\nhandle {\n" + asking + "}\n}", "asking 1 bound 0 plain 1 cached 0 inner 0"},
		{"beside", "handle /b* {\nfake_breaker a\n" + plain + "}\nhandle {\n" + asking + "}", "asking 0 bound 0 plain 1 cached 0 inner 0"},
		{"php", "fake_breaker a\nphp_fastcgi 127.0.0.1:1", "asking 0 bound 0 plain 1 cached 0 inner 0"},
		{"forward_auth", "route {\nfake_breaker a\nforward_auth 127.0.0.1:1 {\nuri /\n}\n" + asking + "}", "asking 1 bound 0 plain 1 cached 0 inner 0"},
		{"behind a cache", "route {\nfake_breaker a\nfake_cache\n" + plain + "}", "asking 0 bound 0 plain 0 cached 1 inner 0"},
		{"error routes", "fake_breaker a\n" + plain + "handle_errors {\n" + asking + "}", "asking 0 bound 0 plain 1 cached 0 inner 0"},
		{"its own fallback", "fake_breaker a {\ninstead {\n" + asking + "}\n}\n" + plain, "asking 0 bound 0 plain 1 cached 0 inner 0"},
		{"inside of a fallback", "fake_breaker b {\ninstead {\nfake_breaker a\n" + asking + "}\n}\n" + plain, "asking 1 bound 0 plain 0 cached 0 inner 0"},
		{"another in handle_response", "fake_breaker a\nreverse_proxy 127.0.0.1:1 {\nhandle_response {\nroute {\nfake_breaker b\n" + asking + "}\n}\n}", "asking 0 bound 0 plain 1 cached 0 inner 1"},
		{"behind forward_auth", "route {\nfake_breaker a\nforward_auth 127.0.0.1:1 {\nuri /\n}\nfake_breaker b\n" + asking + "}", "asking 0 bound 0 plain 1 cached 0 inner 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			clear(told)
			require.NoError(t, startErr(t, adapt(t, "http://example.com {\n"+test.site+"\n}")))
			require.Len(t, told["a"], 1)
			require.Equal(t, test.want, proxies(told["a"][0]))
		})
	}
	t.Run("places", func(t *testing.T) {
		clear(told)
		require.NoError(t, startErr(t, adapt(t, "http://example.com {\nfake_breaker a\nreverse_proxy /b 127.0.0.1:1\n}")))
		require.Equal(t, []string{"routes/0/handle/0/routes/1/handle/0 (host example.com, path /b)"}, told["a"][0].Plain)
	})
	t.Run("error routes of a subroute", func(t *testing.T) {
		clear(told)
		breaker := func(name string) string { return `{"handler": "fake_breaker", "name": "` + name + `"}` }
		proxy := `{"handler": "reverse_proxy", "upstreams": [{"dial": "127.0.0.1:1"}]}`
		require.NoError(t, startErr(t, json.RawMessage(`{"apps": {"http": {"servers": {"edge": {"routes": [{"handle": [`+breaker("a")+`,
			{"handler": "subroute", "routes": [{"handle": [`+proxy+`]}], "errors": {"routes": [{"handle": [`+breaker("b")+`,`+proxy+`]}]}}]}]}}}}}`)))
		require.Equal(t, "asking 0 bound 0 plain 1 cached 0 inner 1", proxies(told["a"][0]))
		require.Equal(t, "asking 0 bound 0 plain 1 cached 0 inner 0", proxies(told["b"][0]))
	})
	t.Run("a named route at two places", func(t *testing.T) {
		clear(told)
		require.NoError(t, startErr(t, adapt(t, "&(shop) {\nfake_breaker a\n}\nhttp://example.com {\nhandle /a* {\nroute {\ninvoke shop\n"+plain+"}\n}\nhandle {\nroute {\ninvoke shop\n"+asking+"}\n}\n}")))
		require.Len(t, told["a"], 1)
		require.Equal(t, "asking 1 bound 0 plain 1 cached 0 inner 0", proxies(told["a"][0]))
	})
}

// TestBreakersInTheWay: two in one chain, and one that no request comes to.
func TestBreakersInTheWay(t *testing.T) {
	const proxy = "reverse_proxy 127.0.0.1:1\n"
	for _, test := range []struct {
		name, site string
		want       []string
	}{
		{"two in a row", "route {\nfake_breaker a\nfake_breaker b\n" + proxy + "}", []string{
			"edge_breaker at routes/0/handle/0/routes/0/handle/0/routes/0/handle/1 (host example.com) stands behind edge_breaker at routes/0/handle/0/routes/0/handle/0/routes/0/handle/0 (host example.com)"}},
		{"behind a block", "fake_breaker a\nhandle {\n" + proxy + "}", []string{"can never be reached"}}, // handle comes first
		{"around blocks", "route {\nfake_breaker a\nhandle /a* {\nfake_breaker b\n" + proxy + "}\n" + proxy + "}", []string{"stands behind"}},
		{"for paths that exclude each other", "@not not path /a*\nfake_breaker /a* a\nfake_breaker @not b\n" + proxy, nil},
		{"for paths that overlap", "fake_breaker /a* a\nfake_breaker b\n" + proxy, []string{"give each a handle block of its own"}},
		{"in blocks", "handle /a* {\nfake_breaker a\n" + proxy + "}\nhandle {\nfake_breaker b\n" + proxy + "}", nil},
		{"in error routes", "fake_breaker a\n" + proxy + "handle_errors {\nfake_breaker b\n" + proxy + "}", nil},
		{"behind its proxy", "route {\n" + proxy + "fake_breaker a\n}", []string{
			"edge_breaker at routes/0/handle/0/routes/0/handle/0/routes/0/handle/1 (host example.com) can never be reached"}},
		{"behind a proxy for some", "route {\nreverse_proxy /a* 127.0.0.1:1\nfake_breaker a\n" + proxy + "}", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := startErr(t, adapt(t, "http://example.com {\n"+test.site+"\n}"))
			requireFaults(t, err, test.want)
			if err != nil {
				require.True(t, strings.HasPrefix(err.Error(), "http server srv0 (see caddy adapt): edge_breaker at "), "%v", err)
			}
		})
	}
}
