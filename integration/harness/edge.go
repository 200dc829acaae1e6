package harness

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	startLimit    = 30 * time.Second // until the process serves its config
	stopLimit     = 30 * time.Second // from the signal to the end of the process
	leftoverLimit = 10 * time.Second // for goroutines to end after the last request
	logLimit      = 10 * time.Second // for a line of output to appear
	shownLines    = 60               // of the output of a failed test
)

// Edge is a running process with its configuration. Unless stated otherwise its
// methods belong to the goroutine of the test.
type Edge struct {
	t     testing.TB
	text  *text
	cmd   *exec.Cmd
	out   *output
	admin adminEndpoint
	roots *x509.CertPool
	base  goroutines
	gone  chan struct{} // closed when the process has ended
	stop  sync.Once

	shared map[Proto]*http.Client
	loaded atomic.Bool // whether there was a Reload, rejected or not

	mu      sync.Mutex // guards clients
	clients []*http.Client
}

// Start runs the binary with a Caddyfile (see the package comment for what may be
// in it) and returns when it serves and, for https sites, has its certificates.
// The test's end stops it.
func Start(t testing.TB, caddyfile string, vars ...Vars) *Edge {
	t.Helper()
	path := Binary(t)
	dir := t.TempDir()
	e := &Edge{
		t:      t,
		text:   newText(t, dir),
		out:    newOutput(),
		admin:  newAdminEndpoint(fmt.Sprintf("127.0.0.1:%d", FreePort(t))),
		gone:   make(chan struct{}),
		shared: make(map[Proto]*http.Client),
	}
	config, err := e.text.render(caddyfile, vars)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}

	e.cmd = exec.Command(path, "run", "--config", file, "--adapter", "caddyfile")
	e.cmd.Env = environment(dir, e.admin.addr)
	e.cmd.Stdout, e.cmd.Stderr = e.out, e.out
	if err := e.cmd.Start(); err != nil {
		t.Fatalf("starting the edge: %v", err)
	}
	go func() {
		defer close(e.gone)
		// The exit code is read from ProcessState when the edge is stopped.
		_ = e.cmd.Wait()
	}()
	t.Cleanup(e.Stop)

	_, ready := e.out.await(func(entry Entry) bool {
		return entry["msg"] == "serving initial configuration"
	}, startLimit, e.gone)
	if !ready {
		t.Fatalf("the edge does not serve; its output:\n%s\nits Caddyfile:\n%s", e.lastLines(), config)
	}
	e.awaitCertificates()
	e.Rebase()
	return e
}

// URL returns scheme, host and port of a site that the Caddyfile names with
// {{http "name"}} or {{https "name"}}.
func (e *Edge) URL(name string) string {
	e.t.Helper()
	url, ok := e.text.urls[name]
	if !ok {
		e.t.Fatalf("the Caddyfile has no site named %q", name)
	}
	return url
}

// AdminAddr returns host and port of the admin endpoint.
func (e *Edge) AdminAddr() string { return e.admin.addr }

// Dial opens a plain TCP connection to a site, for requests that no client
// library would send. It is closed when the test ends.
func (e *Edge) Dial(name string) net.Conn {
	e.t.Helper()
	_, addr, _ := strings.Cut(e.URL(name), "://")
	conn, err := net.Dial("tcp", loopback(addr))
	if err != nil {
		e.t.Fatalf("connecting to site %s: %v", name, err)
	}
	e.t.Cleanup(func() { conn.Close() })
	return conn
}

// Client returns a new client with connections of its own, which trusts the
// edge's certificates, connects to 127.0.0.1 whatever the host name in a URL,
// and follows no redirects. It may be called from any goroutine.
func (e *Edge) Client(p Proto) *http.Client { return e.client(p, new(net.Dialer)) }

func (e *Edge) client(p Proto, dialer *net.Dialer) *http.Client {
	client := newClient(p, e.roots, dialer, &e.loaded)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clients = append(e.clients, client)
	return client
}

// Do sends a request on a client that calls share, and returns the whole
// response. Header lines are such as "Accept: text/html". It fails the test on
// any error.
func (e *Edge) Do(p Proto, method, url, body string, lines ...string) *Response {
	e.t.Helper()
	client := e.shared[p]
	if client == nil {
		client = e.Client(p)
		e.shared[p] = client
	}
	req, err := NewRequest(method, url, body, lines...)
	if err != nil {
		e.t.Fatal(err)
	}
	got, err := Send(client, req)
	if err != nil {
		e.t.Fatalf("%s %s over %s: %v", method, url, p, err)
	}
	return got
}

// Get is Do for a GET request.
func (e *Edge) Get(p Proto, url string, lines ...string) *Response {
	e.t.Helper()
	return e.Do(p, http.MethodGet, url, "", lines...)
}

// Reload replaces the config, also by an equal one, and returns the error with
// which the edge refuses it. Vars given before still hold. Goroutines left by the
// old config fail the test at its end; call Rebase when the new config rightly
// has more of them.
func (e *Edge) Reload(caddyfile string, vars ...Vars) error {
	e.t.Helper()
	config, err := e.text.render(caddyfile, vars)
	if err != nil {
		e.t.Fatal(err)
	}
	e.loaded.Store(true)
	if err := e.admin.load(config); err != nil {
		return err
	}
	e.awaitCertificates()
	// The servers of the old configuration close what is idle, at a time when a
	// request that can't be sent again may be on its way.
	e.closeClients()
	return nil
}

// Admin sends a request to the admin endpoint, with in as its JSON body unless
// it is nil, and returns status and body. It fails the test when there is no
// answer.
func (e *Edge) Admin(method, path string, in any) (status int, body []byte) {
	e.t.Helper()
	var content []byte
	header := make(http.Header)
	if in != nil {
		var err error
		if content, err = json.Marshal(in); err != nil {
			e.t.Fatalf("encoding an admin request: %v", err)
		}
		header.Set("Content-Type", "application/json")
	}
	status, body, err := e.admin.do(method, path, header, content)
	if err != nil {
		e.t.Fatal(err)
	}
	return status, body
}

// Metrics returns the present values by series, for example
// caddy_edge_cache_requests_total{result="hit"}, with labels in alphabetical
// order.
func (e *Edge) Metrics() map[string]float64 {
	e.t.Helper()
	body, err := e.admin.get("/metrics")
	if err != nil {
		e.t.Fatal(err)
	}
	return parseMetrics(string(body))
}

// Logs returns the whole output so far.
func (e *Edge) Logs() []Entry {
	lines, _ := e.out.since(0)
	entries := make([]Entry, len(lines))
	for i, line := range lines {
		entries[i] = parseEntry(line)
	}
	return entries
}

// WaitLog returns the first entry, past or future, that satisfies match. It fails
// the test when there is none within ten seconds.
func (e *Edge) WaitLog(match func(Entry) bool) Entry {
	e.t.Helper()
	entry, found := e.out.await(match, logLimit, e.gone)
	if !found {
		e.t.Fatalf("the log entry waited for did not appear; the output:\n%s", e.lastLines())
	}
	return entry
}

// Rebase makes the present goroutines those that may remain at the end. Call it
// with no request in progress.
func (e *Edge) Rebase() {
	e.t.Helper()
	base, err := e.admin.goroutines()
	if err != nil {
		e.t.Fatal(err)
	}
	e.base = base
}
