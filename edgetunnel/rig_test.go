package edgetunnel

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/standard"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgetunnel/agent"
	"github.com/caddyedge/caddy-edge/edgetunnel/hub"
	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// patience is how long tests wait for what is to happen.
const patience = 30 * time.Second

// secret is that of the tokens in tests.
const secret = "c2VjcmV0LW9mLXRlc3Rz"

func hashOf(t testing.TB, text string) string {
	t.Helper()
	var h wire.Hash
	copy(h[:], sha(text))
	require.True(t, h.Matches(text))
	return h.String()
}

// freePort returns a port that nobody listens on.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// adapt turns a Caddyfile into JSON for reloadtest.
func adapt(t testing.TB, text string) string {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	require.NoError(t, err, text)
	return string(config)
}

// edge is one in this process.
type edge struct {
	t      testing.TB
	port   string
	tunnel string // options of edge_tunnel
	proxy  string // options of the proxy
	source string // options of the source of upstreams
	before string // directives in front
	global string
}

func newEdge(t testing.TB) *edge {
	t.Helper()
	t.Cleanup(func() { // operators' orders hold as long as the process
		h := hub.New(hub.Hooks{}, orders)
		for _, name := range h.Held() {
			h.Resume(name)
		}
		for _, id := range h.Revoked() {
			h.Allow(id)
		}
	})
	return &edge{t: t, port: freePort(t), tunnel: "token home " + hashOf(t, secret) + " app api"}
}

// caddyfile is the config of the edge.
func (e *edge) caddyfile() string {
	return fmt.Sprintf(`{
	auto_https off
	%s
}
http://127.0.0.1:%s {
	edge_tunnel {
		%s
	}
	%s
	reverse_proxy {
		dynamic edge_tunnel app {
			%s
		}
		transport edge_tunnel
		%s
	}
}
`, e.global, e.port, e.tunnel, e.before, e.source, e.proxy)
}

func (e *edge) load() {
	e.t.Helper()
	require.NoError(e.t, reloadtest.Load(e.t, adapt(e.t, e.caddyfile())))
}

// load makes a Caddyfile the running config.
func load(t testing.TB, caddyfile string) error {
	t.Helper()
	return reloadtest.Load(t, adapt(t, caddyfile))
}

func (e *edge) url() string { return "http://127.0.0.1:" + e.port }

// client makes connections of its own.
func client(t testing.TB) *http.Client {
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// get asks the edge and returns status and body.
func (e *edge) get(path string) (int, string) {
	e.t.Helper()
	status, body, err := e.try(path)
	require.NoError(e.t, err)
	return status, body
}

func (e *edge) try(path string) (int, string, error) {
	resp, err := client(e.t).Get(e.url() + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// await asks until there is an answer of that status.
func (e *edge) await(path string, status int) string {
	e.t.Helper()
	var got string
	require.Eventually(e.t, func() bool {
		s, body, err := e.try(path)
		got = fmt.Sprint(s, " ", body, " ", err)
		return err == nil && s == status
	}, patience, 10*time.Millisecond, "%s", &got)
	return got
}

// connect starts an agent for the edge, which serves the backend app by that handler.
func (e *edge) connect(name string, backend http.Handler, more ...func(*agent.Forward)) *agent.Agent {
	e.t.Helper()
	return e.connectTo(name, serve(e.t, backend), more...)
}

// held connects an agent whose backend has a request until finish is called. It answers with
// "finished"; what the client got, body and error, is in answered.
func (e *edge) held(name string) (a *agent.Agent, answered chan string, finish func()) {
	e.t.Helper()
	begun, end := make(chan struct{}), make(chan struct{})
	a = e.connect(name, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-end
		fmt.Fprint(w, "finished")
	}))
	e.serving(1)
	answered = make(chan string, 1)
	go func() {
		_, body, err := e.try("/")
		answered <- fmt.Sprint(body, err)
	}()
	<-begun
	return a, answered, func() { close(end) }
}

// dialUpgrade asks the edge for an upgrade to the protocol echo.
func (e *edge) dialUpgrade() (net.Conn, *bufio.Reader) {
	e.t.Helper()
	conn, err := net.Dial("tcp", "127.0.0.1:"+e.port)
	require.NoError(e.t, err)
	e.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(e.t, conn.SetDeadline(time.Now().Add(patience)))
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	require.NoError(e.t, err)
	require.NoError(e.t, resp.Body.Close())
	require.Equal(e.t, http.StatusSwitchingProtocols, resp.StatusCode)
	return conn, in
}

// rawBackend gives each connection of a backend to handle, and returns its address.
func rawBackend(t testing.TB, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
	return l.Addr().String()
}

// serve runs a backend and returns its URL.
func serve(t testing.TB, backend http.Handler) string {
	server := httptest.NewServer(backend)
	t.Cleanup(server.Close)
	return server.URL
}

func (e *edge) connectTo(name, to string, more ...func(*agent.Forward)) *agent.Agent {
	e.t.Helper()
	f := agent.Forward{To: to}
	for _, change := range more {
		change(&f)
	}
	backends := new(agent.Backends)
	stop, err := backends.Forward("app", f)
	require.NoError(e.t, err)
	e.t.Cleanup(stop)
	return e.start(agent.Config{Name: name}, backends)
}

// start starts an agent for the edge.
func (e *edge) start(config agent.Config, backends *agent.Backends) *agent.Agent {
	e.t.Helper()
	if config.Edges == nil {
		config.Edges = []string{e.url()}
	}
	if config.Token == nil {
		config.Token = func() (string, error) { return "home." + secret, nil }
	}
	config.Log = zap.NewNop()
	require.NoError(e.t, config.Check())
	a := agent.Start(config, backends)
	e.t.Cleanup(func() { a.Drain(0) })
	return a
}

// serving waits until the edge has as many routes to the backend.
func (e *edge) serving(n int) {
	e.t.Helper()
	require.Eventually(e.t, func() bool {
		h := peekHub()
		return h != nil && len(h.Routes("default", "app")) == n
	}, patience, time.Millisecond)
}

// echo answers with what it got.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	fmt.Fprintf(w, "%s %s %s %s", r.Method, r.RequestURI, r.Host, body)
}

// http2Client talks HTTP/2 without TLS.
func h2cClient(t testing.TB) *http.Client {
	transport := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{}}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func request(t testing.TB, method, url string, body io.Reader, header ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, url, body)
	require.NoError(t, err)
	for _, field := range header {
		name, value, _ := strings.Cut(field, ": ")
		r.Header.Add(name, value)
	}
	return r
}
