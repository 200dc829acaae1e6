package edgebreaker

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// TestTimeOfSlowUploads: a timeout that the client's upload has used up is no failure
// of the backend, also when the upload has ended.
func TestTimeOfSlowUploads(t *testing.T) {
	a := newOrigin(t, "a")
	arrived := make(chan struct{})
	a.serve(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	g := newRig(t)
	g.load(site("failures 1\ntimeout 4s", a.address, ""))
	body, send := io.Pipe()
	go func() {
		_, _ = io.WriteString(send, "x")
		<-arrived
		time.AfterFunc(slowClient+slowClient/5, func() { _ = send.Close() })
	}()
	require.Equal(t, http.StatusGatewayTimeout, g.do(http.MethodPost, "/", body).status)
	eventually(t, func() bool { return backend(t, a.address).Active() == 0 })
	requireState(t, a.address, breaker.Closed)
}

// TestTimeOfSlowReaders: nor is one that the client has used up by not reading.
func TestTimeOfSlowReaders(t *testing.T) {
	a := newOrigin(t, "a")
	ended, text := make(chan struct{}), strings.Repeat("x", 64<<20) // which takes its time
	a.serve(func(w http.ResponseWriter, _ *http.Request) {
		defer close(ended)
		_, _ = io.WriteString(w, text)
	})
	g := newRig(t)
	g.load(site("failures 1\ntimeout 4s", a.address, ""))
	c, err := net.Dial("unix", g.socket())
	require.NoError(t, err)
	_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: edge\r\n\r\n")
	require.NoError(t, err)
	<-ended // by the timeout
	require.NoError(t, c.Close())
	eventually(t, func() bool { return backend(t, a.address).Active() == 0 })
	requireState(t, a.address, breaker.Closed)
}

// TestSlowUploadsHoldNoProbes: clients that never end their uploads must not keep a
// backend half-open.
func TestSlowUploadsHoldNoProbes(t *testing.T) {
	a := newOrigin(t, "a")
	a.serve(drain)
	g := newRig(t)
	g.load(site("", a.address, ""))
	b := backend(t, a.address)
	b.Force(time.Now(), breaker.ForceOpen)
	b.Force(time.Now(), breaker.Auto)
	for range 3 {
		c, err := net.Dial("unix", g.socket())
		require.NoError(t, err)
		defer c.Close()
		_, err = io.WriteString(c, "POST / HTTP/1.1\r\nHost: edge\r\nContent-Length: 50\r\n\r\nx")
		require.NoError(t, err)
	}
	eventually(t, func() bool { return b.Active() == 3 })
	for range 3 {
		eventually(t, func() bool { return g.get("/").status == http.StatusOK })
	}
	requireState(t, a.address, breaker.Closed)
	require.Equal(t, 3, b.Active(), "they still go on")
}

// TestPathsThatFastCGIRefuses: its transport tells nothing of what it does, but its
// dialer does.
func TestPathsThatFastCGIRefuses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	closing := make(chan struct{})
	go func() {
		defer close(closing)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	defer func() { l.Close(); <-closing }()
	address := l.Addr().String()
	for _, retries := range []string{"", "lb_retries 2\n"} {
		g := newRig(t)
		g.load("edge_breaker {\nfailures 1\n}\nreverse_proxy " + address + " {\ntransport fastcgi {\nsplit .php\n}\nlb_policy edge\n" + retries + "}")
		require.GreaterOrEqual(t, g.get("/%00.php").status, 400)
		requireState(t, address, breaker.Closed)
	}
	g := newRig(t)
	g.load("edge_breaker {\nfailures 2\n}\nreverse_proxy " + address + " {\ntransport fastcgi {\nsplit .php\n}\nlb_policy edge\nlb_retries 1\n}")
	require.Equal(t, http.StatusBadGateway, g.get("/index.php").status)
	requireState(t, address, breaker.Open)
}

// TestConfiguredBackendsStay: requests to addresses of the clients' choice do not
// drive out what is known of those in the config.
func TestConfiguredBackendsStay(t *testing.T) {
	a := newOrigin(t, "a")
	a.status(http.StatusInternalServerError, "")
	g := newRig(t)
	g.load(site("failures 1\nopen 1h 1h", a.address, ""))
	require.Equal(t, []int{500, 503}, g.codes(2))
	all, _ := registries.Peek(registryKey)
	rules := &breaker.Config{Failures: 1, Successes: 1, Probes: 1, OpenFor: time.Hour, MaxOpenFor: time.Hour}
	ask := func(i int) *breaker.Attempt {
		attempt, _, ok := all.Get(fmt.Sprintf("127.0.%d.%d:1", i/256, i%256)).Enter(time.Now(), rules)
		require.True(t, ok)
		return &attempt
	}
	for i := range mostBackends { // under way, so that no room can be made of these
		defer ask(i).End(time.Now(), breaker.Ignored)
	}
	for i := range 100 {
		ask(mostBackends+i).End(time.Now(), breaker.Failure)
	}
	require.Equal(t, http.StatusServiceUnavailable, g.get("/").status)
}

// TestSlowUploadsIntoABuffer: what a client took to fill the proxy's buffer is no excuse
// for the backend, which was not asked yet.
func TestSlowUploadsIntoABuffer(t *testing.T) {
	for _, buffer := range []string{"1KiB", "4"} { // all of the body, or its beginning
		a := newOrigin(t, "a")
		a.serve(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusInternalServerError)
		})
		g := newRig(t)
		g.load(site("failures 1", a.address, "request_buffers "+buffer))
		body, send := io.Pipe()
		go func() {
			_, _ = io.WriteString(send, "x")
			time.AfterFunc(slowClient+slowClient/5, func() {
				_, _ = io.WriteString(send, "and the rest")
				_ = send.Close()
			})
		}()
		require.Equal(t, http.StatusInternalServerError, g.do(http.MethodPost, "/", body).status)
		requireState(t, a.address, breaker.Open)
	}
}

// TestResultOfSlowUploads: nor is a bad result of gRPC, in the trailers, after a client
// has kept the backend waiting.
func TestResultOfSlowUploads(t *testing.T) {
	a := newOrigin(t, "a")
	arrived := make(chan struct{})
	a.serve(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		grpc(14, false)(w, r)
		close(arrived)
		_, _ = io.Copy(io.Discard, r.Body)
	})
	g := newRig(t)
	g.load(site("failures 1", a.address, ""))
	body, send := io.Pipe()
	go func() {
		_, _ = io.WriteString(send, "x")
		<-arrived
		time.AfterFunc(slowClient+slowClient/5, func() { _ = send.Close() })
	}()
	r := g.do(http.MethodPost, "/", body, "Content-Type: application/grpc")
	require.Equal(t, 200, r.status)
	eventually(t, func() bool { return backend(t, a.address).Active() == 0 })
	require.Equal(t, 1, int(a.asked.Load()))
	requireState(t, a.address, breaker.Closed)
}

// TestBodyIsReadByTwo: a transport may still read while the one of another proxy begins.
func TestBodyIsReadByTwo(t *testing.T) {
	r, w := io.Pipe()
	b := &body{ReadCloser: r}
	b.left.Store(200)
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() { _, _ = io.Copy(io.Discard, b) })
	}
	for range 200 {
		_, err := w.Write([]byte("x"))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	readers.Wait()
	_, ended := b.ended()
	require.True(t, ended)
}
