package edgebreaker

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

func init() { caddy.RegisterModule(instant{}) }

// instant is a transport that answers at once, and derives a context as
// http.Transport does.
type instant struct{}

func (instant) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.transport.instant", New: func() caddy.Module { return new(instant) }}
}

func (instant) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	default:
	}
	return &http.Response{StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {"text/plain"}, "Date": {"x"}, "Cache-Control": {"no-store"}, "Content-Length": {"0"}, "Etag": {"x"}}, Body: io.NopCloser(eof{}), ContentLength: 0, Request: r}, nil
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// server returns Caddy's handler of a config with the handlers.
func server(t testing.TB, handlers string) *caddyhttp.Server {
	t.Helper()
	require.NoError(t, reloadtest.Load(t, `{"apps":{"http":{"servers":{"s":{"listen":["127.0.0.1:0"],"automatic_https":{"disable":true},"routes":[{"handle":[`+handlers+`]}]}}}}}`))
	app, err := caddy.ActiveContext().App("http")
	require.NoError(t, err)
	return app.(*caddyhttp.App).Servers["s"]
}

const (
	plainProxy = `{"handler":"reverse_proxy","transport":{"protocol":"instant"},"upstreams":[{"dial":"127.0.0.1:1"},{"dial":"127.0.0.1:2"},{"dial":"127.0.0.1:3"}],"load_balancing":{"selection_policy":{"policy":"round_robin"}}}`
	edgeProxy  = `{"handler":"edge_breaker"},{"handler":"reverse_proxy","transport":{"protocol":"instant"},"upstreams":[{"dial":"127.0.0.1:1"},{"dial":"127.0.0.1:2"},{"dial":"127.0.0.1:3"}],"load_balancing":{"selection_policy":{"policy":"edge"}}}`
)

// serveOnce serves a request that a server would have made.
func serveOnce(s *caddyhttp.Server, base *http.Request, w http.ResponseWriter) {
	ctx, cancel := context.WithCancel(context.Background())
	s.ServeHTTP(w, base.WithContext(ctx))
	cancel()
}

// BenchmarkRequest prints what a request costs within Caddy, with a transport that
// costs nothing: plain is Caddy's proxy with round_robin.
func BenchmarkRequest(b *testing.B) {
	for _, one := range []struct{ name, handlers string }{{"plain", plainProxy}, {"edge", edgeProxy}} {
		b.Run(one.name, func(b *testing.B) {
			s := server(b, one.handlers)
			base := httptest.NewRequest(http.MethodGet, "http://a/", nil)
			b.ReportAllocs()
			for b.Loop() {
				serveOnce(s, base, &sink{header: make(http.Header)})
			}
		})
	}
}

// sink is the least response writer there can be.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
