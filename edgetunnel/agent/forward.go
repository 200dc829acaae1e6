package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"strings"
	"sync"
	"time"

	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
)

// headTimeout is how long the head of a request may take.
const headTimeout = 10 * time.Second

// forwarder passes requests on to a backend over HTTP.
type forwarder struct {
	Forward
	to        destination
	listener  *Listener
	server    *http.Server
	transport *http.Transport
	proxy     *httputil.ReverseProxy
	tell      func(error)
	stop      func()
}

// newForwarder starts one. tell is called with what goes wrong with requests, healthy with
// what the checks find.
func newForwarder(f Forward, tell func(error), healthy func(bool)) (*forwarder, error) {
	fwd := &forwarder{Forward: f, listener: newListener("forward", func() {}), tell: tell}
	fwd.listener.forward = true
	var err error
	if fwd.to, err = fwd.prepare(); err != nil {
		return nil, err
	}
	fwd.transport = fwd.newTransport()
	fwd.proxy = &httputil.ReverseProxy{
		Rewrite: fwd.rewrite, Transport: fwd.transport, FlushInterval: -1, BufferPool: copies,
		ErrorHandler: fwd.failed, ErrorLog: log.New(io.Discard, "", 0),
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	fwd.server = &http.Server{
		Handler: http.HandlerFunc(fwd.handle), ReadHeaderTimeout: headTimeout, Protocols: protocols,
		DisableGeneralOptionsHandler: true, ErrorLog: log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	fwd.server.SetKeepAlivesEnabled(false) // a stream has one request
	ctx, cancel := context.WithCancel(context.Background())
	go func() { _ = fwd.server.Serve(fwd.listener) }() // ends with stop
	if fwd.HealthURI != "" {
		go fwd.check(ctx, healthy)
	}
	fwd.stop = sync.OnceFunc(func() {
		cancel()
		_ = fwd.listener.Close() // never fails
		go fwd.end()
	})
	return fwd, nil
}

// farewell is how long requests may go on whose backend is no longer configured.
const farewell = 5 * time.Minute

// end waits for the requests under way.
func (f *forwarder) end() {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	if f.server.Shutdown(ctx) != nil {
		_ = f.server.Close()
	}
	f.transport.CloseIdleConnections()
}

func (f *forwarder) serve(c *conn) { f.listener.serve(c) }

func (f *forwarder) newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: f.DialTimeout}
	t := &http.Transport{
		DialContext: dialer.DialContext, DisableCompression: true,
		MaxIdleConns: 0, MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: f.DialTimeout,
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: f.InsecureSkipVerify}, //nolint:gosec // the operator's choice
		ReadBufferSize: 16 << 10,
	}
	if f.to.socket != "" {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", f.to.socket)
		}
	}
	if f.to.h2c {
		t.Protocols = new(http.Protocols)
		t.Protocols.SetUnencryptedHTTP2(true)
	}
	return t
}

// rewrite points a request to the backend.
func (f *forwarder) rewrite(r *httputil.ProxyRequest) {
	in, out := r.In, r.Out
	out.URL.Scheme, out.URL.Host = f.to.scheme, f.to.host
	out.URL.RawQuery = in.URL.RawQuery // who reads it is the backend
	if f.StripPrefix != "" {
		out.URL.Path = strip(out.URL.Path, f.StripPrefix)
		out.URL.RawPath = strip(out.URL.RawPath, f.StripPrefix)
	}
	if f.to.path != "" {
		out.URL.Path = f.to.path + out.URL.Path
		if out.URL.RawPath != "" {
			out.URL.RawPath = f.to.path + out.URL.RawPath
		}
	}
	if f.Host != "" {
		out.Host = f.Host
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if v, ok := in.Header[name]; ok {
			out.Header[name] = v // the edge has set them
		}
	}
	if f.StripCredentials {
		for _, name := range []string{"Authorization", "Cookie", "Proxy-Authorization"} {
			out.Header.Del(name)
		}
	}
	out.Trailer = in.Trailer // its values come with the end of the body
}

// strip takes a prefix off a path, which begins with a slash still.
func strip(path, prefix string) string {
	rest, ok := strings.CutPrefix(path, prefix)
	if !ok || rest != "" && rest[0] != '/' && !strings.HasSuffix(prefix, "/") {
		return path
	}
	if path != "" && !strings.HasPrefix(rest, "/") {
		rest = "/" + rest
	}
	return rest
}

type connKey struct{}

// handle passes one request on. The edge is told that it is taken when there is a
// connection to the backend.
func (f *forwarder) handle(w http.ResponseWriter, r *http.Request) {
	c := r.Context().Value(connKey{}).(*conn)
	if !f.passes(r.URL.Path) {
		_ = c.answer(wire.Accepted) // the edge may be gone
		http.Error(w, "The agent does not serve this path.", http.StatusNotFound)
		return
	}
	_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/1 can
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	t := &taking{conn: c, waits: waits(r), shared: f.to.h2c, cancel: cancel}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: t.gotConn})
	r = r.WithContext(ctx)
	w.Header()["Content-Type"] = nil // none is to be guessed
	f.proxy.ServeHTTP(w, r)
}

// passes reports whether a path is passed on.
func (f *forwarder) passes(path string) bool {
	if len(f.Paths) == 0 {
		return true
	}
	for _, p := range f.Paths {
		rest, ok := strings.CutPrefix(path, p)
		if ok && (rest == "" || rest[0] == '/' || strings.HasSuffix(p, "/")) && !dotted(path) {
			return true
		}
	}
	return false
}

// dotted reports whether a backend may take a path for one above.
func dotted(path string) bool {
	for segment := range strings.FieldsFuncSeq(path, func(c rune) bool { return c == '/' || c == '\\' }) {
		if name, _, _ := strings.Cut(segment, ";"); name == ".." || name == "." {
			return true
		}
	}
	return false
}

// waits reports whether a request is forwarded only when the edge has confirmed that it knows
// of its being taken: what the edge gives up on before, it may send to another agent. Requests
// without a body that change nothing may be sent again anyway.
func waits(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return r.ContentLength != 0
	}
	return true
}

// confirmTimeout is how long the edge may take to confirm.
const confirmTimeout = 10 * time.Second

// taking tells the edge that its request has a connection to the backend.
type taking struct {
	conn   *conn
	waits  bool
	shared bool // others use the connection to the backend, too
	cancel func()
	once   sync.Once
}

// gotConn is called before anything is sent.
func (t *taking) gotConn(got httptrace.GotConnInfo) {
	t.once.Do(func() {
		if !t.waits {
			t.conn.answerSoon()
			return
		}
		err := t.conn.answer(wire.Accepted)
		if err == nil {
			err = t.conn.AwaitConfirm(confirmTimeout)
		}
		if err == nil {
			return
		}
		t.cancel()
		if c, ok := got.Conn.(*tls.Conn); ok && c.ConnectionState().NegotiatedProtocol == "h2" {
			t.shared = true
		}
		if !t.shared {
			_ = got.Conn.Close() // so that nothing is sent on it
		}
	})
}

// failed ends an exchange that got no response. If the edge has not been told that the
// request is taken, it may ask somebody else.
func (f *forwarder) failed(_ http.ResponseWriter, r *http.Request, err error) {
	c := r.Context().Value(connKey{}).(*conn)
	if r.Context().Err() == nil {
		f.tell(err)
	}
	status := wire.Refused
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		status = wire.TimedOut
	}
	if c.soon != nil {
		status = wire.Accepted // it is about to be told
	}
	_ = c.answer(status)        // does nothing when it was told
	panic(http.ErrAbortHandler) // ends the stream
}

// copies are buffers to copy responses with.
var copies = new(bufferPool)

type bufferPool struct{ pool sync.Pool }

const copySize = 32 << 10

func (b *bufferPool) Get() []byte {
	if p, ok := b.pool.Get().(*[copySize]byte); ok {
		return p[:]
	}
	return make([]byte, copySize)
}

func (b *bufferPool) Put(p []byte) { b.pool.Put((*[copySize]byte)(p)) }
