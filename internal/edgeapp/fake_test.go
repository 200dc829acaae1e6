package edgeapp_test

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/internal/edgeapp"
)

func init() {
	caddy.RegisterModule(fakeCache{})
	httpcaddyfile.RegisterHandlerDirective("fake_cache", parseFakeCache)
	httpcaddyfile.RegisterDirectiveOrder("fake_cache", httpcaddyfile.After, "respond")
}

// fakeCache is a handler that the app takes for a cache. Its directive is
// ordered like that of the real one.
type fakeCache struct {
	Namespace string `json:"namespace,omitempty"`

	Headers      []string `json:"headers,omitempty"`
	Cookies      []string `json:"cookies,omitempty"`
	Values       []string `json:"values,omitempty"`
	Parameters   []string `json:"parameters,omitempty"` // none: all
	Forwards     []string `json:"forwards,omitempty"`   // none: all
	IgnoreHost   bool     `json:"ignore_host,omitempty"`
	IgnoreScheme bool     `json:"ignore_scheme,omitempty"`

	PurgeAllow []netip.Prefix `json:"purge_allow,omitempty"`
}

func (fakeCache) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.fake_cache", New: func() caddy.Module { return new(fakeCache) }}
}

func (c *fakeCache) Provision(ctx caddy.Context) error {
	_, err := edgeapp.From(ctx)
	return err
}

func (*fakeCache) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return next.ServeHTTP(w, r)
}

func (c *fakeCache) EdgeCacheNode() edgeapp.CacheInfo {
	key := edgeapp.CacheKey{
		Headers: c.Headers, Cookies: c.Cookies, Values: c.Values, IgnoreHost: c.IgnoreHost, IgnoreScheme: c.IgnoreScheme,
	}
	if c.Parameters != nil {
		key.Parameter = func(name string) bool { return slices.Contains(c.Parameters, name) }
	}
	if c.Forwards != nil {
		key.Forwards = func(field string) bool { return slices.Contains(c.Forwards, field) }
	}
	return edgeapp.CacheInfo{Namespace: c.Namespace, Key: key, PurgeAllow: c.PurgeAllow}
}

// parseFakeCache takes a namespace, and options of the key such as header=X-A.
func parseFakeCache(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // consume directive name
	c := new(fakeCache)
	for _, arg := range h.RemainingArgs() {
		option, value, _ := strings.Cut(arg, "=")
		switch option {
		case "header":
			c.Headers = append(c.Headers, value)
		case "cookie":
			c.Cookies = append(c.Cookies, value)
		case "value":
			c.Values = append(c.Values, value)
		case "query":
			c.Parameters = append(c.Parameters, value)
		case "forwards":
			c.Forwards = append(c.Forwards, value)
		case "purge":
			c.PurgeAllow = append(c.PurgeAllow, netip.MustParsePrefix(value))
		case "ignore_host":
			c.IgnoreHost = true
		case "ignore_scheme":
			c.IgnoreScheme = true
		default:
			c.Namespace = arg
		}
	}
	return c, nil
}
