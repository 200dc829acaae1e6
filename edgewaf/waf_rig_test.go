package edgewaf

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// wafRig is a provisioned firewall in front of an origin that is a function.
type wafRig struct {
	*Firewall
	origin func(w http.ResponseWriter, r *http.Request) error
	server *caddyhttp.Server
	repl   *caddy.Replacer
	got    string // the content that the origin got
	asked  int    // requests that the origin got
	front  func(r *http.Request)
}

func provisionFirewall(config string) (*Firewall, func(), error) {
	ctx, cancel := caddy.NewContext(reloadtest.Context())
	module, err := ctx.LoadModuleByID("http.handlers.edge_waf", []byte(config))
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return module.(*Firewall), cancel, nil
}

// newWafRig returns a firewall with the given options, for as long as the test lasts.
func newWafRig(t testing.TB, options string) *wafRig {
	t.Helper()
	names++
	f, cleanup, err := provisionFirewall(fmt.Sprintf(`{"name": "rig-%d"%s}`, names, prefixed(options)))
	require.NoError(t, err)
	t.Cleanup(cleanup)
	g := &wafRig{Firewall: f, server: new(caddyhttp.Server)}
	g.origin = func(w http.ResponseWriter, _ *http.Request) error {
		_, err := io.WriteString(w, "ok")
		return err
	}
	return g
}

// browse makes a request as a browser does.
func browse(method, target, content string, fields ...string) *http.Request {
	r := request(method, target, append([]string{
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Accept-Language: en-US,en;q=0.5",
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
	}, fields...)...)
	if content != "" {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(content)), int64(len(content))
		r.Header.Set("Content-Length", fmt.Sprint(len(content)))
	}
	return r
}

// do serves a request as Caddy's server would; errors become statuses.
func (g *wafRig) do(r *http.Request) *httptest.ResponseRecorder { return g.doWith(r, nil) }

// doWith is do with something that handlers in front do.
func (g *wafRig) doWith(r *http.Request, front func(r *http.Request)) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	g.front = front
	g.serveTo(w, r)
	return w
}

// serveTo is do with a writer of the test's.
func (g *wafRig) serveTo(w http.ResponseWriter, r *http.Request) {
	g.repl = caddy.NewReplacer()
	r = caddyhttp.PrepareRequest(r, g.repl, w, g.server)
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, strings.Trim(r.RemoteAddr[:strings.LastIndexByte(r.RemoteAddr, ':')], "[]"))
	if g.front != nil {
		g.front(r)
	}
	err := g.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		g.asked++
		data, err := io.ReadAll(r.Body)
		if err != nil {
			return caddyhttp.Error(http.StatusBadGateway, err)
		}
		g.got = string(data)
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
