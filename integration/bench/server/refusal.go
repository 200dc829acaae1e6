package main

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("bench_refusal", parseRefusal)
	httpcaddyfile.RegisterDirectiveOrder("bench_refusal", httpcaddyfile.After, "respond")
}

// parseRefusal parses "bench_refusal": Caddy's own handler of respond, with the
// fields and the body of a refusal by edge_limit, which a Caddyfile can't give it.
func parseRefusal(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // consume directive name
	if h.NextArg() {
		return nil, h.ArgErr()
	}
	return caddyhttp.StaticResponse{
		StatusCode: "429",
		Headers: http.Header{
			"Content-Type":     {"application/json"},
			"Retry-After":      {"37"},
			"Ratelimit-Policy": {`"default";q=1;w=60`},
			"Ratelimit":        {`"default";r=0;t=37`},
		},
		Body: `{"error":"rate limit exceeded","retry_after":37}`,
	}, nil
}
