package edgewaf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

func TestMain(m *testing.M) {
	reloadtest.Context() // its goroutines last as long as the process
	// What keeps the lock files of the storage fresh ends some seconds later.
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent(), goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"))
}

// rig is a provisioned guard in front of an origin that is a function.
type rig struct {
	caddyhttp.MiddlewareHandler
	guard   *Guard
	origin  func(w http.ResponseWriter, r *http.Request) error
	server  *caddyhttp.Server
	trusted bool
	seen    *http.Request // the last one that the origin got
	repl    *caddy.Replacer
}

// provision makes a guard from its JSON config. The returned function cleans it up, as
// the unloading of a config does.
func provision(config string) (caddyhttp.MiddlewareHandler, func(), error) {
	ctx, cancel := caddy.NewContext(reloadtest.Context())
	module, err := ctx.LoadModuleByID("http.handlers.edge_guard", []byte(config))
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return module.(caddyhttp.MiddlewareHandler), cancel, nil
}

var names int // of guards, which must be defined alike when they have the same

// newRig returns a guard with the given options, for as long as the test lasts.
func newRig(t testing.TB, options string) *rig {
	t.Helper()
	names++
	h, cleanup, err := provision(fmt.Sprintf(`{"name": "rig-%d"%s}`, names, prefixed(options)))
	require.NoError(t, err)
	t.Cleanup(cleanup)
	g := &rig{MiddlewareHandler: h, guard: h.(*Guard), server: new(caddyhttp.Server)}
	g.origin = func(w http.ResponseWriter, r *http.Request) error {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return caddyhttp.Error(http.StatusBadGateway, err)
		}
		w.WriteHeader(http.StatusOK)
		return nil
	}
	return g
}

func prefixed(options string) string {
	if options == "" {
		return ""
	}
	return ", " + options
}

// request is one with a target as it is sent, and fields given as "Name: value".
func request(method, target string, fields ...string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "example.com"
	r.RemoteAddr = "192.0.2.1:1234"
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		if name == "Host" {
			r.Host = value
		} else {
			r.Header.Add(name, value)
		}
	}
	return r
}

// chunked gives a request a body of unknown length.
func chunked(r *http.Request, body io.Reader) *http.Request {
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(body), -1, []string{"chunked"}
	return r
}

// do serves a request as Caddy's server would; errors become statuses.
func (g *rig) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	g.serve(w, r)
	return w
}

// serve is do with a writer of the test's.
func (g *rig) serve(w http.ResponseWriter, r *http.Request) {
	g.repl = caddy.NewReplacer()
	r = caddyhttp.PrepareRequest(r, g.repl, w, g.server)
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, strings.Trim(r.RemoteAddr[:strings.LastIndexByte(r.RemoteAddr, ':')], "[]"))
	caddyhttp.SetVar(r.Context(), caddyhttp.TrustedProxyVarKey, g.trusted)
	g.seen = nil
	err := g.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		g.seen = r
		return g.origin(w, r)
	}))
	if err != nil {
		code := http.StatusInternalServerError
		if he, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
			code = he.StatusCode
		}
		w.WriteHeader(code)
		fmt.Fprint(w, err)
	}
}

// get asks for a target.
func (g *rig) get(target string, fields ...string) *httptest.ResponseRecorder {
	return g.do(request(http.MethodGet, target, fields...))
}

// requireRefused wants a request refused by a check, in the form that refusals have.
func (g *rig) requireRefused(t *testing.T, r *http.Request, c check, status int) *httptest.ResponseRecorder {
	t.Helper()
	before := g.guard.state.counts[c][actionRefused].Load()
	w := g.do(r)
	require.Equal(t, status, w.Code, w.Body)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.JSONEq(t, fmt.Sprintf(`{"error": %q, "check": %q, "request_id": %q}`, checkTable[c].why, c, w.Header().Get("X-Request-Id")), w.Body.String())
	require.Equal(t, before+1, g.guard.state.counts[c][actionRefused].Load())
	check, _ := g.repl.Get("http.edge_guard.check")
	require.Equal(t, c.String(), check)
	return w
}

// file writes a file for a configuration.
func file(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

// body is n bytes.
func body(n int) io.Reader { return bytes.NewReader(make([]byte, n)) }
