package edgecache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// rig is a provisioned handler in the test's process, in front of an origin that
// is a function.
type rig struct {
	*Handler
	origin caddyhttp.Handler
}

// newRig provisions a handler from its JSON config; the returned function cleans
// it up, as the unloading of a config does.
func newRig(t require.TestingT, config string, origin func(http.ResponseWriter, *http.Request)) (g *rig, cleanup func()) {
	ctx, cancel := caddy.NewContext(reloadtest.Context())
	module, err := ctx.LoadModuleByID("http.handlers.edge_cache", []byte(config))
	require.NoError(t, err)
	return &rig{
		Handler: module.(*Handler),
		origin: caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			origin(w, r)
			return nil
		}),
	}, cancel
}

// got is what a client got.
type got struct {
	*httptest.ResponseRecorder
	aborted bool // the connection was aborted
}

// get asks for a URL with header fields given as "Name: value".
func (g *rig) get(url string, fields ...string) got { return g.send(http.MethodGet, url, fields...) }

func (g *rig) send(method, url string, fields ...string) got {
	r := httptest.NewRequest(method, url, nil)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Add(name, value)
	}
	return g.do(r)
}

// do serves a request as Caddy's server would.
func (g *rig) do(r *http.Request) got {
	rec := httptest.NewRecorder()
	return got{rec, g.serve(rec, r)}
}

// prepared gives a request what Caddy's server adds to it.
func prepared(w http.ResponseWriter, r *http.Request) *http.Request {
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, new(caddyhttp.Server))
}

func (g *rig) serve(w http.ResponseWriter, r *http.Request) (aborted bool) {
	ctx, cancel := context.WithCancel(r.Context()) // a server's contexts end with the request
	defer cancel()
	r = prepared(w, r.WithContext(ctx))
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			aborted = true
		}
	}()
	if err := g.ServeHTTP(w, r, g.origin); err != nil {
		code := http.StatusInternalServerError
		if he, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
			code = he.StatusCode
		}
		w.WriteHeader(code)
	}
	return false
}

// answering is an origin that gives one answer and counts.
func answering(count *int, status int, body string, fields ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		*count++
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			w.Header().Add(name, value)
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, body)
	}
}
