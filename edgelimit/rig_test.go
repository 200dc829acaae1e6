package edgelimit

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// rig is a provisioned handler in front of an origin that is a function.
type rig struct {
	caddyhttp.MiddlewareHandler
	origin func(w http.ResponseWriter, r *http.Request) error
	server *caddyhttp.Server
}

// provision makes a handler from its JSON config. The returned function cleans
// it up, as the unloading of a config does.
func provision(id, config string) (caddyhttp.MiddlewareHandler, func(), error) {
	ctx, cancel := caddy.NewContext(reloadtest.Context())
	module, err := ctx.LoadModuleByID(id, []byte(config))
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return module.(caddyhttp.MiddlewareHandler), cancel, nil
}

func newRig(t require.TestingT, config string) (*rig, func()) {
	h, cleanup, err := provision("http.handlers.edge_limit", config)
	require.NoError(t, err)
	ok := func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	return &rig{h, ok, new(caddyhttp.Server)}, cleanup
}

// request is one by a client, with fields given as "Name: value".
func request(client, url string, fields ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, url, nil)
	r.RemoteAddr = client + ":1234"
	if strings.Contains(client, ":") {
		r.RemoteAddr = "[" + client + "]:1234"
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Add(name, value)
	}
	return r
}

// do serves a request as Caddy's server would; errors become statuses.
func (g *rig) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, g.server)
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, hostOf(r.RemoteAddr))
	err := g.ServeHTTP(w, r, caddyhttp.HandlerFunc(g.origin))
	if err != nil {
		code := http.StatusInternalServerError
		if he, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
			code = he.StatusCode
		}
		w.WriteHeader(code)
	}
	return w
}

func (g *rig) get(client, url string, fields ...string) *httptest.ResponseRecorder {
	return g.do(request(client, url, fields...))
}

// codes asks n times.
func (g *rig) codes(n int, client, url string, fields ...string) (codes []int) {
	for range n {
		codes = append(codes, g.get(client, url, fields...).Code)
	}
	return codes
}

// prepared returns what it takes to serve one request again and again.
func prepared(g *rig, client string) (caddyhttp.MiddlewareHandler, *http.Request, *sink) {
	w := &sink{header: make(http.Header)}
	r := caddyhttp.PrepareRequest(request(client, "http://a/"), caddy.NewReplacer(), w, g.server)
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, client)
	return g.MiddlewareHandler, r, w
}

// sink is the least response writer there can be.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
