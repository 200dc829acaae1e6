package edgebreaker

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/standard"
	_ "github.com/caddyserver/caddy/v2/modules/logging"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// rig is a running Caddy that listens on a socket in a directory of the test.
type rig struct {
	t      *testing.T
	dir    string
	loads  atomic.Int64 // each config listens on a socket of its own
	client *http.Client
	log    string // the file of the log, if there is one
}

func (g *rig) socket() string { return filepath.Join(g.dir, fmt.Sprint(g.loads.Load())) }

func newRig(t *testing.T) *rig {
	dir, err := os.MkdirTemp("", "breaker") // the test's own may have too long a name
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	g := &rig{t: t, dir: dir}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", g.socket())
	}}
	t.Cleanup(transport.CloseIdleConnections)
	g.client = &http.Client{Transport: transport, Timeout: 30 * time.Second}
	return g
}

// adapt makes a config of a site's directives.
func (g *rig) adapt(site string) (string, error) {
	var log string
	if g.log != "" {
		log = "\tlog {\n\t\toutput file " + g.log + "\n\t}\n"
	}
	file := "{\n" + log + "\tservers {\n\t\tprotocols h1 h2c\n\t}\n}\nhttp://edge {\n\tbind unix/" + filepath.Join(g.dir, fmt.Sprint(g.loads.Load()+1)) + "\n" + site + "\n}\n"
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(file), nil)
	return string(config), err
}

// load makes the site the running one.
func (g *rig) load(site string) {
	g.t.Helper()
	require.NoError(g.t, g.tryLoad(site))
}

func (g *rig) tryLoad(site string) error {
	config, err := g.adapt(site)
	if err != nil {
		return err
	}
	if err = reloadtest.Load(g.t, config); err == nil {
		g.loads.Add(1)
	}
	return err
}

// logged returns what the log has so far.
func (g *rig) logged() string {
	text, err := os.ReadFile(g.log)
	require.NoError(g.t, err)
	return string(text)
}

type reply struct {
	status int
	header http.Header
	body   string
	err    error
}

func (g *rig) do(method, path string, body io.Reader, fields ...string) reply {
	r, err := http.NewRequestWithContext(g.t.Context(), method, "http://edge"+path, body)
	require.NoError(g.t, err)
	for _, f := range fields {
		if name, value, ok := strings.Cut(f, ": "); ok {
			r.Header.Add(name, value)
		}
	}
	res, err := g.client.Do(r)
	if err != nil {
		return reply{err: err}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(text), err}
}

func (g *rig) get(path string, fields ...string) reply {
	return g.do(http.MethodGet, path, nil, fields...)
}

// codes asks n times.
func (g *rig) codes(n int) (codes []int) {
	for range n {
		codes = append(codes, g.get("/").status)
	}
	return codes
}

// origin is a backend that answers by a function, its name and 200 at first.
type origin struct {
	*httptest.Server
	address string
	asked   atomic.Int64
	handle  atomic.Pointer[http.HandlerFunc]
}

func newOrigin(t *testing.T, name string) *origin {
	o := &origin{}
	o.status(200, name)
	o.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.asked.Add(1)
		(*o.handle.Load())(w, r)
	}))
	o.Config.Protocols = new(http.Protocols)
	o.Config.Protocols.SetHTTP1(true)
	o.Config.Protocols.SetUnencryptedHTTP2(true)
	o.Config.ErrorLog = log.New(io.Discard, "", 0)
	o.Start()
	t.Cleanup(o.Close)
	o.address = strings.TrimPrefix(o.URL, "http://")
	return o
}

func (o *origin) serve(f http.HandlerFunc) { o.handle.Store(&f) }

func (o *origin) status(code int, body string) {
	o.serve(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	})
}

// holding answers requests for a path when it is released, which is to be done also when
// the test fails, and others at once: those that should not have come to it.
func holding(path string) (handle http.HandlerFunc, release func()) {
	hold := make(chan struct{})
	handle = func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == path {
			<-hold
		}
	}
	return handle, sync.OnceFunc(func() { close(hold) })
}

// deadAddress is one on which nobody listens.
func deadAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// backend returns the state of an address.
func backend(t *testing.T, address string) *breaker.Backend {
	t.Helper()
	all, ok := registries.Peek(registryKey)
	require.True(t, ok)
	b, ok := all.Lookup(address)
	require.True(t, ok, "no backend %s", address)
	return b
}

func requireState(t *testing.T, address string, want breaker.State) {
	t.Helper()
	require.Equal(t, want.String(), backend(t, address).State().String())
}

// eventually polls, since what an attempt says may come after its response.
func eventually(t *testing.T, f func() bool) {
	t.Helper()
	require.Eventually(t, f, 20*time.Second, time.Millisecond)
}

// toJSON is a value as JSON.
func toJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}
