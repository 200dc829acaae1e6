// What the guard costs a request that it lets pass, beside the handler behind it:
//
//	go test -run '^$' -bench Guard ./edgewaf
package edgewaf

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func BenchmarkGuard(b *testing.B) {
	var list strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&list, "10.%d.%d.%d\n", i>>16&255, i>>8&255, i&255)
	}
	lists := `"deny": {"files": ["` + file(b, "list.txt", []byte(list.String())) + `"]}`
	for name, bench := range map[string]struct{ options, target string }{
		"defaults":   {"", "/assets/app.js?v=1"},
		"no-id":      {`"request_id": "off"`, "/assets/app.js?v=1"},
		"everything": {`"security_headers": {}, "max_body": 1000, "hosts": ["example.com"], ` + lists, "/assets/app.js?v=1"},
		"refused":    {`"respond": "direct"`, "/a/%2e%2e/b"},
	} {
		b.Run(name, func(b *testing.B) {
			g := newRig(b, bench.options)
			next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				w.WriteHeader(http.StatusOK)
				return nil
			})
			w := &sink{make(http.Header)}
			r := request("GET", bench.target, "User-Agent: bench", "Accept: */*", "Accept-Encoding: gzip, br", "Connection: keep-alive")
			r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, g.server)
			caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "192.0.2.1")
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if i++; i%1000 == 0 { // each call adds a source of placeholders
					r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, g.server)
					caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "192.0.2.1")
				}
				_ = g.ServeHTTP(w, r, next)
			}
		})
	}
}
