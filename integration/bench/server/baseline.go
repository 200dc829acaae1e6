package main

import (
	"bytes"
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/internal/cfparse"
)

func init() {
	caddy.RegisterModule(Baseline{})
	httpcaddyfile.RegisterHandlerDirective("bench_baseline", parseBaseline)
	httpcaddyfile.RegisterDirectiveOrder("bench_baseline", httpcaddyfile.After, "respond")
}

// Baseline is the least that a cache hit costs inside Caddy: a handler that sets
// the fields of a hit to constants and writes a byte slice.
type Baseline struct {
	// Size is the length of the body in bytes. Default: 0, an empty body.
	Size int64 `json:"size,omitempty"`

	length string
	body   []byte
}

// CaddyModule returns the Caddy module information.
func (Baseline) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.bench_baseline", New: func() caddy.Module { return new(Baseline) }}
}

// Provision makes the body.
func (b *Baseline) Provision(caddy.Context) error {
	b.body = bytes.Repeat([]byte{'x'}, int(b.Size))
	b.length = strconv.FormatInt(b.Size, 10)
	return nil
}

// ServeHTTP writes the response.
func (b *Baseline) ServeHTTP(w http.ResponseWriter, _ *http.Request, _ caddyhttp.Handler) error {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("Etag", `"0123456789abcdef"`)
	h.Set("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
	h.Set("Date", "Thu, 01 Jan 2026 00:00:01 GMT")
	h.Set("Via", "1.1 Caddy")
	h.Set("Age", "12")
	h.Set("Cache-Status", "edge; hit; ttl=3588")
	h.Set("Content-Length", b.length)
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(b.body)
	return err
}

// parseBaseline parses "bench_baseline <size>".
func parseBaseline(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // consume directive name
	b := new(Baseline)
	var err error
	b.Size, err = cfparse.For(h.Dispenser, "bench_baseline").Size("size")
	return b, err
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Baseline)(nil)
	_ caddyhttp.MiddlewareHandler = (*Baseline)(nil)
)
