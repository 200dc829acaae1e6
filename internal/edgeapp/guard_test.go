package edgeapp_test

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/edgeapp"
)

func init() {
	caddy.RegisterModule(new(fakeGuard))
	httpcaddyfile.RegisterHandlerDirective("fake_guard", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		h.Next() // consume directive name
		g := new(fakeGuard)
		if !h.AllArgs(&g.Name) {
			return nil, h.ArgErr()
		}
		return g, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("fake_guard", httpcaddyfile.Before, "request_body")
}

// purgers is what the guards of a test were told, by name.
var purgers = make(map[string][][]netip.Prefix)

// fakeGuard is a handler that the app takes for a guard.
type fakeGuard struct {
	Name string `json:"name"`
}

func (*fakeGuard) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.fake_guard", New: func() caddy.Module { return new(fakeGuard) }}
}

func (*fakeGuard) Provision(ctx caddy.Context) error {
	_, err := edgeapp.From(ctx)
	return err
}

func (*fakeGuard) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return next.ServeHTTP(w, r)
}

func (g *fakeGuard) EdgePurgers(clients []netip.Prefix) {
	purgers[g.Name] = append(purgers[g.Name], clients)
}

// TestPurgersBehind: a guard is told who may purge the caches to which its requests may
// come, and no other.
func TestPurgersBehind(t *testing.T) {
	const proxy = "reverse_proxy 127.0.0.1:1\n"
	for _, test := range []struct {
		name, site string
		want       []string
	}{
		{"a cache that nobody may purge", "fake_guard a\nfake_cache\n" + proxy, nil},
		{"no cache", "fake_guard a\n" + proxy, nil},
		{"one", "fake_guard a\nfake_cache purge=10.0.0.0/8 purge=::1/128\n" + proxy, []string{"10.0.0.0/8", "::1/128"}},
		{"in blocks", "fake_guard a\nhandle /a* {\nfake_cache purge=10.0.0.0/8\n" + proxy + "}\nhandle {\nfake_cache purge=10.0.0.0/8 purge=192.0.2.1/32\n" + proxy + "}",
			[]string{"10.0.0.0/8", "192.0.2.1/32"}},
		{"in another block", "handle /a* {\nfake_guard a\n" + proxy + "}\nhandle {\nfake_cache purge=10.0.0.0/8\n" + proxy + "}", nil},
		{"for another path", "fake_guard /a* a\nfake_cache /b* purge=10.0.0.0/8\n" + proxy, nil},
		{"of error routes", "fake_guard a\n" + proxy + "handle_errors {\nfake_cache n purge=10.0.0.0/8\n" + proxy + "}", nil},
		{"behind two guards", "fake_guard b\nroute {\nfake_guard a\nfake_cache purge=10.0.0.0/8\n" + proxy + "}", []string{"10.0.0.0/8"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			clear(purgers)
			require.NoError(t, startErr(t, adapt(t, "http://example.com {\n"+test.site+"\n}")))
			var want []netip.Prefix
			for _, s := range test.want {
				want = append(want, netip.MustParsePrefix(s))
			}
			require.Equal(t, [][]netip.Prefix{want}, purgers["a"], "told once")
			if got, ok := purgers["b"]; ok {
				require.Equal(t, [][]netip.Prefix{want}, got)
			}
		})
	}
	t.Run("a named route at two places", func(t *testing.T) {
		clear(purgers)
		require.NoError(t, startErr(t, adapt(t, "&(shop) {\nfake_guard a\n}\nhttp://example.com {\nhandle /a* {\nroute {\ninvoke shop\nfake_cache purge=10.0.0.0/8\n"+proxy+
			"}\n}\nhandle {\nroute {\ninvoke shop\nfake_cache purge=192.0.2.1/32\n"+proxy+"}\n}\n}")))
		require.Equal(t, [][]netip.Prefix{{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32")}}, purgers["a"])
	})
}
