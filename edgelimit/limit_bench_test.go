package edgelimit

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgelimit/gcra"
)

// The handler alone, allowed and refused, written by itself or returned as an
// error for the error routes, whose own work comes on top:
//
//	go test ./edgelimit -run '^$' -bench Handler
func BenchmarkHandler(b *testing.B) {
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	for _, bb := range []struct {
		name, config string
		refused      bool
	}{
		{"allowed", `{"zones": [{"name": "bench-allowed", "rate": "1000000/s", "burst": 1000000000}]}`, false},
		{"allowed-by-two", `{"zones": [{"name": "bench-two-a", "rate": "1000000/s", "burst": 1000000000}, {"name": "bench-two-b", "rate": "1000000/s", "burst": 1000000000}]}`, false},
		{"refused-direct", `{"zones": [{"name": "bench-direct", "rate": "1/m"}], "respond": "direct"}`, true},
		{"refused-error", `{"zones": [{"name": "bench-error", "rate": "1/m"}], "respond": "error"}`, true},
	} {
		b.Run(bb.name, func(b *testing.B) {
			g, cleanup := newRig(b, bb.config)
			defer cleanup()
			l, r, w := prepared(g, "192.0.2.1")
			require.NoError(b, l.ServeHTTP(w, r, next))
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				_ = l.ServeHTTP(w, r, next)
				if refused := len(w.header) > 0; refused != bb.refused {
					b.Fatalf("refused: %v", refused)
				}
			}
		})
	}
}

// What a grant on credit takes beside the decision: the charge to the node's share.
//
//	go test ./edgelimit -run '^$' -bench Lend
func BenchmarkLend(b *testing.B) {
	base, err := gcra.Rate(1e6, time.Second, 1e9)
	require.NoError(b, err)
	z := &Zone{tables: &tables{rates: gcra.New(DefaultKeys)}}
	c := claim{zone: z, key: gcra.HashString("client")}
	now := gcra.Now()
	b.ReportAllocs()
	for b.Loop() {
		c.lend(1, &base, now)
	}
}

func BenchmarkAdaptive(b *testing.B) {
	g, _, cleanup := newAdaptive(b, `{"name": "bench"}`)
	defer cleanup()
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusOK)
		return nil
	})
	_, r, w := prepared(g, "192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		if err := g.ServeHTTP(w, r, next); err != nil {
			b.Fatal(err)
		}
	}
}

// A request through the whole of Caddy's server, without the network: what a
// bare site takes, and what the limit adds, the layer of Caddy's own around each
// handler included.
//
//	go test ./edgelimit -run '^$' -bench Server -count 10
func BenchmarkServer(b *testing.B) {
	for _, bb := range []struct{ name, handlers string }{
		{"respond", `{"handler": "static_response", "status_code": 200}`},
		{"limited", `{"handler": "edge_limit", "zones": [{"name": "bench-server", "rate": "1000000/s", "burst": 1000000000}]},
			{"handler": "static_response", "status_code": 200}`},
	} {
		b.Run(bb.name, func(b *testing.B) {
			config := new(caddy.Config)
			require.NoError(b, json.Unmarshal([]byte(`{
				"logging": {"logs": {"default": {"writer": {"output": "discard"}}}},
				"apps": {"http": {"servers": {"bench": {
					"listen": ["127.0.0.1:0"], "automatic_https": {"disable": true}, "routes": [{"handle": [`+bb.handlers+`]}]
				}}}}
			}`), config))
			ctx, err := caddy.ProvisionContext(config)
			require.NoError(b, err)
			app, err := ctx.App("http")
			require.NoError(b, err)
			server := app.(*caddyhttp.App).Servers["bench"]
			w, r := &sink{header: make(http.Header)}, request("192.0.2.1", "http://a/")
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				server.ServeHTTP(w, r)
			}
		})
	}
}
