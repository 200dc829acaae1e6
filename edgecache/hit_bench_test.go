package edgecache

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
)

// The handler alone, against one that writes the same fields and bytes:
//
//	go test ./edgecache -run '^$' -bench Hit

// sink is the least response writer there can be.
type sink struct {
	header http.Header
	n      int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { s.n += len(p); return len(p), nil }

// page is a response with ordinary fields.
func page(size int) func(w http.ResponseWriter, r *http.Request) {
	body := pattern(size)
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, f := range [][2]string{
			{"Cache-Control", "public, max-age=86400"}, {"Content-Type", "text/html; charset=utf-8"}, {"Etag", `"5f3a-5f2b1c"`},
			{"Last-Modified", "Sat, 21 Nov 2026 00:48:00 GMT"}, {"Vary", "Accept-Encoding"}, {"X-Frame-Options", "DENY"},
		} {
			w.Header()[f[0]] = []string{f[1]}
		}
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(body)
	}
}

// baseline writes the fields and the body of a hit without any cache.
func baseline(size int) caddyhttp.Handler {
	origin := page(size)
	return caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		h := w.Header()
		h["Age"] = []string{"0"}
		h["Cache-Status"] = []string{"edge; hit; ttl=86399"}
		h["Date"] = []string{"Sat, 21 Nov 2026 00:48:00 GMT"}
		origin(w, r)
		return nil
	})
}

// browser returns a function that prepares a request with a browser's fields, as
// it reaches handlers. Each has a replacer of its own, which handlers extend.
func browser(w http.ResponseWriter) func() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://example.com/a/page.html?x=1", nil)
	for name, value := range map[string]string{
		"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Accept-Encoding": "gzip, deflate, br, zstd", "Accept-Language": "en-US,en;q=0.9",
		"User-Agent": "Mozilla/5.0", "Cookie": "session=0123456789",
	} {
		r.Header.Set(name, value)
	}
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{Port: 80}))
	server := &caddyhttp.Server{Listen: []string{":80", ":443"}}
	return func() *http.Request {
		return caddyhttp.PrepareRequest(r, caddy.NewEmptyReplacer(), w, server)
	}
}

// warm returns a function that has the handler answer a request from the store.
func warm(t testing.TB, size int) func(r *http.Request, w *sink) {
	g, cleanup := newRig(t, `{}`, page(size))
	t.Cleanup(cleanup)
	g.get("http://example.com/a/page.html?x=1", "Accept-Encoding: gzip, deflate, br, zstd")
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return fmt.Errorf("not a hit") })
	return func(r *http.Request, w *sink) {
		clear(w.header)
		w.n = 0
		if err := g.ServeHTTP(w, r, next); err != nil || w.n != size {
			t.Fatalf("%d bytes, %v", w.n, err)
		}
	}
}

// TestHitAllocations pins what a hit allocates beside what the server does: the
// memory of the reply, and little more.
func TestHitAllocations(t *testing.T) {
	w := &sink{header: http.Header{}}
	hit, prepare := warm(t, 1<<10), browser(w)
	before := testing.AllocsPerRun(500, func() { prepare() })
	all := testing.AllocsPerRun(500, func() { hit(prepare(), w) })
	require.LessOrEqual(t, all-before, 4.0)
}

func BenchmarkHit(b *testing.B)      { benchmarkHit(b, 1<<10) }
func BenchmarkHitLarge(b *testing.B) { benchmarkHit(b, 1<<20) }

func benchmarkHit(b *testing.B, size int) {
	w := &sink{header: http.Header{}}
	prepare := browser(w)
	run := func(name string, serve func(r *http.Request, w *sink)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				serve(prepare(), w)
			}
		})
	}
	plain := baseline(size)
	run("prepare-only", func(*http.Request, *sink) {})
	run("baseline", func(r *http.Request, w *sink) {
		clear(w.header)
		if err := plain.ServeHTTP(w, r); err != nil {
			b.Fatal(err)
		}
	})
	run("edge_cache", warm(b, size))
}
