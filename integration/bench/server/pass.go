package main

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(Pass{})
	httpcaddyfile.RegisterHandlerDirective("bench_pass", parsePass)
	httpcaddyfile.RegisterDirectiveOrder("bench_pass", httpcaddyfile.Before, "respond")
}

// Pass is what any handler in front of another one costs inside Caddy: it does
// nothing.
type Pass struct{}

// CaddyModule returns the Caddy module information.
func (Pass) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.bench_pass", New: func() caddy.Module { return new(Pass) }}
}

// ServeHTTP calls the next handler.
func (Pass) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return next.ServeHTTP(w, r)
}

// parsePass parses "bench_pass".
func parsePass(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // consume directive name
	if h.NextArg() {
		return nil, h.ArgErr()
	}
	return Pass{}, nil
}

// Interface guard
var _ caddyhttp.MiddlewareHandler = Pass{}
