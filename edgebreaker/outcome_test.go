package edgebreaker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// site is one backend behind a breaker with options.
func site(options, address, proxy string) string {
	return "edge_breaker {\n" + options + "\n}\nreverse_proxy " + address + " {\n\tlb_policy edge\n" + proxy + "\n}"
}

// raw sends bytes on a connection of their own and returns what comes back until
// the server closes it.
func (g *rig) raw(text string) string {
	c, err := net.Dial("unix", g.socket())
	require.NoError(g.t, err)
	defer c.Close()
	_, err = io.WriteString(c, text)
	require.NoError(g.t, err)
	reply, err := io.ReadAll(c)
	require.NoError(g.t, err)
	return string(reply)
}

// drain reads the body of a request.
func drain(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(http.StatusOK)
}

// TestClientsDoNoHarm: whatever a client does, a healthy backend stays closed.
func TestClientsDoNoHarm(t *testing.T) {
	a := newOrigin(t, "a")
	g := newRig(t)
	g.load("request_body {\n\tmax_size 64\n}\n" + site("failures 1", a.address, ""))
	t.Run("malformed chunks", func(t *testing.T) {
		a.serve(drain)
		for range 20 {
			require.Regexp(t, `^HTTP/1.1 (4|5)`, g.raw("POST / HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\nZZ\r\n"))
		}
		requireState(t, a.address, breaker.Closed)
	})
	t.Run("too large body", func(t *testing.T) {
		a.serve(drain)
		for range 20 {
			require.Equal(t, http.StatusRequestEntityTooLarge, g.do("POST", "/", strings.NewReader(strings.Repeat("x", 65))).status)
			r := g.do("POST", "/", struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 65))})
			require.Equal(t, http.StatusRequestEntityTooLarge, r.status)
		}
		requireState(t, a.address, breaker.Closed)
	})
	t.Run("leaves while it waits", func(t *testing.T) {
		arrived := make(chan struct{})
		a.serve(func(_ http.ResponseWriter, r *http.Request) {
			// One of above that came late has a body that breaks off, and until it is
			// read the server does not notice that nobody waits.
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
			select {
			case arrived <- struct{}{}:
			case <-r.Context().Done(): // one that the transport sent again
			}
			<-r.Context().Done()
		})
		for range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://edge/", nil)
			require.NoError(t, err)
			done := make(chan error)
			go func() {
				_, err := g.client.Do(r) //nolint:bodyclose // there is none
				done <- err
			}()
			<-arrived
			cancel()
			require.ErrorIs(t, <-done, context.Canceled)
		}
		eventually(t, func() bool { return backend(t, a.address).Active() == 0 })
		requireState(t, a.address, breaker.Closed)
	})
	t.Run("leaves while it is served", func(t *testing.T) {
		a.serve(func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		})
		for range 20 {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://edge/", nil)
			require.NoError(t, err)
			res, err := g.client.Do(r)
			require.NoError(t, err)
			res.Body.Close()
		}
		eventually(t, func() bool { return backend(t, a.address).Active() == 0 })
		requireState(t, a.address, breaker.Closed)
	})
	t.Run("cuts its body off", func(t *testing.T) {
		a.serve(drain)
		for range 20 {
			c, err := net.Dial("unix", g.socket())
			require.NoError(t, err)
			_, err = io.WriteString(c, "POST / HTTP/1.1\r\nHost: edge\r\nContent-Length: 50\r\n\r\nhello")
			require.NoError(t, err)
			c.Close()
		}
		eventually(t, func() bool { return backend(t, a.address).Active() == 0 })
		requireState(t, a.address, breaker.Closed)
	})
	require.Equal(t, 0, backend(t, a.address).Status(time.Now()).ConsecutiveFailures)
}

// TestSlowUpload: a backend that gives a slow client up, by an error or by closing
// the connection, has done nothing wrong.
func TestSlowUpload(t *testing.T) {
	a := newOrigin(t, "a")
	g := newRig(t)
	g.load(site("failures 1", a.address, ""))
	for _, answer := range []http.HandlerFunc{
		status(500),
		func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		released := make(chan struct{})
		a.serve(func(w http.ResponseWriter, r *http.Request) {
			<-released
			answer(w, r)
		})
		body, sender := io.Pipe()
		done := make(chan int)
		go func() { done <- g.do("POST", "/", body).status }()
		_, err := sender.Write([]byte("x"))
		require.NoError(t, err)
		eventually(t, func() bool { return backend(t, a.address).Active() == 1 })
		time.AfterFunc(slowClient+200*time.Millisecond, func() { close(released) })
		<-released
		// The server can't give the body up before the client goes on.
		go sender.Close()
		<-done
		eventually(t, func() bool { return backend(t, a.address).Active() == 0 })
		requireState(t, a.address, breaker.Closed)
	}
}

// hijacked answers with raw bytes and closes the connection.
func hijacked(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, text)
	}
}

// TestBackendFailures: what is the backend's fault opens it, and the client gets
// the proxy's error.
func TestBackendFailures(t *testing.T) {
	for _, test := range []struct {
		name, options, proxy string
		handle               http.HandlerFunc
		status               int // 0: the response breaks off
		failure              failure
	}{
		{"status", "failures 2", "", status(502), 502, failureNone},
		{"chosen status", "failures 2\nfailure_status 404 3xx", "", status(404), 404, failureNone},
		{"chosen class", "failures 2\nfailure_status 404 3xx", "", status(304), 304, failureNone},
		{"status that a route hides", "failures 2", "@bad status 5xx\nhandle_response @bad {\nrespond sorry 200\n}", status(500), 200, failureNone},
		{"closed connection", "failures 2", "", hijacked(""), 502, failureReset},
		{"malformed response", "failures 2", "", hijacked("HTTP/1.1 nonsense\r\n\r\n"), 502, failureMalformed},
		{"reset in the body", "failures 2", "", hijacked("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), 0, failureReset},
		{"reset in chunks", "failures 2", "", hijacked("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), 0, failureReset},
		{"no header in time", "failures 2\nheader_timeout 20ms", "", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 504, failureTimeout},
		{"no end in time", "failures 2\ntimeout 500ms", "", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, 0, failureTimeout},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newOrigin(t, "a")
			a.serve(test.handle)
			g := newRig(t)
			g.load(site(test.options, a.address, test.proxy))
			before := errorsOf(a.address)
			for range 2 {
				r := g.get("/")
				if test.status != 0 {
					require.NoError(t, r.err)
					require.Equal(t, test.status, r.status)
				} else if r.status != http.StatusGatewayTimeout { // on a machine that is too slow for a header
					require.Equal(t, 200, r.status)
					require.Error(t, r.err)
				}
			}
			eventually(t, func() bool { return backend(t, a.address).State() == breaker.Open })
			require.Equal(t, 503, g.get("/").status)
			after := errorsOf(a.address)
			for f := range after {
				want := 0
				if failure(f) == test.failure && test.failure != failureNone {
					want = 2
				}
				require.Equal(t, want, after[f]-before[f], failure(f).String())
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		g := newRig(t)
		address := deadAddress(t)
		g.load(site("failures 2", address, ""))
		before := errorsOf(address)
		require.Equal(t, []int{502, 502, 503}, g.codes(3))
		require.Equal(t, 2, errorsOf(address)[failureDial]-before[failureDial])
	})
	t.Run("no TLS", func(t *testing.T) {
		a := newOrigin(t, "a")
		g := newRig(t)
		g.load(site("failures 2", "https://"+a.address, ""))
		before := errorsOf(a.address)
		require.Equal(t, []int{502, 502, 503}, g.codes(3))
		require.Equal(t, 2, errorsOf(a.address)[failureTLS]-before[failureTLS])
	})
}

// TestNotFailures: answers that are about the request open nothing.
func TestNotFailures(t *testing.T) {
	a := newOrigin(t, "a")
	g := newRig(t)
	g.load(site("failures 1", a.address, ""))
	for _, status := range []int{400, 404, 408, 413, 429, 499, 501, 505} {
		a.status(status, "")
		require.Equal(t, status, g.get("/").status)
	}
	requireState(t, a.address, breaker.Closed)
}

// TestHTTP2Timeout: over HTTP/2 the proxy takes our cancellation for the client's
// unless it is told.
func TestHTTP2Timeout(t *testing.T) {
	a := newOrigin(t, "a")
	a.serve(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	g := newRig(t)
	g.load(site("failures 2\nheader_timeout 20ms", "h2c://"+a.address, ""))
	require.Equal(t, []int{504, 504, 503}, g.codes(3))
}

// TestGRPC: results stand in the trailers, or in the header of a response without a
// body.
func TestGRPC(t *testing.T) {
	for _, test := range []struct {
		name    string
		handle  http.HandlerFunc
		field   string
		failure bool
	}{
		{"trailers", grpc(14, false), "", true},
		{"trailers only", grpc(14, true), "", true},
		{"good", grpc(0, false), "", false},
		{"not found", grpc(5, true), "", false},
		{"deadline", grpc(4, false), "", true},
		{"client's deadline", grpc(4, false), "Grpc-Timeout: 1u", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newOrigin(t, "a")
			a.serve(test.handle)
			g := newRig(t)
			g.load(site("failures 1", a.address, ""))
			require.Equal(t, 200, g.do("POST", "/", nil, "Content-Type: application/grpc", test.field).status)
			eventually(t, func() bool { return backend(t, a.address).Active() == 0 })
			want := breaker.Closed
			if test.failure {
				want = breaker.Open
			}
			requireState(t, a.address, want)
		})
	}
}

func grpc(code int, only bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		if only {
			w.Header().Set("Grpc-Status", fmt.Sprint(code))
			return
		}
		_, _ = w.Write([]byte("data"))
		_ = http.NewResponseController(w).Flush() // else there are no trailers
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", fmt.Sprint(code))
	}
}

// errorsOf are the counters of errors of a backend.
func errorsOf(address string) (n [failures]int) {
	c := countersIfAny(address)
	if c == nil {
		return n
	}
	for f := range n {
		if c.errors[f] != nil {
			n[f] = valueOf(c.errors[f])
		}
	}
	return n
}

func TestClassify(t *testing.T) {
	gateway := func(err error) error { return caddyhttp.Error(502, err) }
	for _, test := range []struct {
		err  error
		want failure
	}{
		{nil, failureNone},
		{gateway(reverseproxy.NewDialError(syscall.ECONNREFUSED)), failureDial},
		{gateway(reverseproxy.NewDialError(errTimeout)), failureDial},
		{gateway(reverseproxy.NewDialError(&net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)})), failureOther},
		{gateway(reverseproxy.NewDialError(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)})), failureOther},
		{gateway(&tls.CertificateVerificationError{Err: errors.New("bad")}), failureTLS},
		{gateway(errors.New("tls: first record does not look like a TLS handshake")), failureTLS},
		{caddyhttp.Error(504, errHeaderTimeout), failureTimeout},
		{gateway(io.EOF), failureReset},
		{gateway(fmt.Errorf("read: %w", syscall.ECONNRESET)), failureReset},
		{gateway(errors.New("http2: server sent GOAWAY")), failureReset},
		{gateway(errors.New("malformed HTTP response")), failureMalformed},
		{gateway(errors.New(`net/http: invalid header field value for "X"`)), failureOther},
		{gateway(errors.New("making dial info: upstream {x}: invalid dial address")), failureNone},
		{caddyhttp.Error(501, errors.New("refused")), failureNone},
		{gateway(&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}), failureTLS},
		{gateway(fmt.Errorf("readLoopPeekFailLocked: %w", &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")})), failureTLS},
		{gateway(&net.OpError{Op: "read", Err: syscall.EHOSTUNREACH}), failureReset},
		{gateway(errors.New("http: server closed idle connection")), failureReset},
		{gateway(errors.New("http2: client connection lost")), failureReset},
		{gateway(errors.New("http2: client connection force closed via ClientConn.Close")), failureReset},
		{gateway(errors.New("http2: Transport: cannot retry err [stream error: stream ID 1; REFUSED_STREAM; received from peer] after Request.Body was written; define Request.GetBody to avoid this error")), failureReset},
		{gateway(errors.New("stream error: stream ID 1; INTERNAL_ERROR; received from peer")), failureReset},
		{gateway(errors.New("stream error: stream ID 1; CANCEL; received from peer")), failureReset},
		{gateway(errors.New("stream error: stream ID 1; PROTOCOL_ERROR; received from peer")), failureOther},
		{gateway(errors.New("stream error: stream ID 1; PROTOCOL_ERROR; malformed response from server: missing status pseudo header")), failureMalformed},
		{gateway(errors.New("net/http: server response headers exceeded 10 bytes; aborted")), failureMalformed},
		{gateway(fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", errors.New("malformed HTTP status code"))), failureMalformed},
		{gateway(fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", errors.New("unsupported transfer encoding"))), failureReset},
		{gateway(fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", errors.New("http: ContentLength=10 with Body length 5"))), failureOther},
		{gateway(errors.New("http: ContentLength=10 with Body length 5")), failureOther},
		{gateway(errors.New("http2: request header list larger than peer's advertised limit")), failureOther},
		{gateway(errors.New(`http2: invalid request :path "foo:bar"`)), failureOther},
		{gateway(errors.New(`http2: invalid Upgrade request header: ["tls: x stream error: http2: server sent GOAWAY"]`)), failureOther},
		{gateway(errors.New("idna: disallowed rune U+200D")), failureOther},
		{gateway(errors.New("something new")), failureOther},
	} {
		require.Equal(t, test.want.String(), classify(test.err).String(), "%v", test.err)
	}
}

// TestTimeoutTellsItsOwnTime: an attempt that got no header is as slow as it was, not
// as the one before.
func TestTimeoutTellsItsOwnTime(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	g := newRig(t)
	g.load(pool("header_timeout 300ms\nfailures 100", "lb_policy edge\nlb_retries 1\n"+retryStatus, a.address, b.address))
	a.status(503, "")
	b.serve(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	eventually(t, func() bool { return g.get("/").status == 504 })
	require.Greater(t, backend(t, b.address).Status(time.Now()).P99, 200*time.Millisecond)
}

// TestRequestsThatCannotBeSent: what the transport refuses to send is no failure of
// a backend that never heard of it, on the last attempt as on others.
func TestRequestsThatCannotBeSent(t *testing.T) {
	secure := newOrigin(t, "a")
	secure.Close()
	secure.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(secure.Close)
	small := newOrigin(t, "a")
	small.Close()
	small.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a") }))
	small.Config.Protocols = new(http.Protocols)
	small.Config.Protocols.SetUnencryptedHTTP2(true)
	small.Config.MaxHeaderBytes = 8192
	small.Start()
	t.Cleanup(small.Close)
	plain := newOrigin(t, "a")
	h1, h2, tls2, limited := plain.address, "h2c://"+plain.address, secure.URL, "h2c://"+small.Listener.Addr().String()
	const trust = "transport http {\ntls_insecure_skip_verify\n}\n"

	for _, test := range []struct{ name, front, upstream, proxy, line, fields string }{
		{"upgrade over h2c", "", h2, "", "GET / HTTP/1.1", "Connection: close, Upgrade\r\nUpgrade: foo bar"},
		{"upgrade with a text of TLS", "", h2, "", "GET / HTTP/1.1", "Connection: close, Upgrade\r\nUpgrade: tls: x"},
		{"upgrade over TLS", "", tls2, trust, "GET / HTTP/1.1", "Connection: close, Upgrade\r\nUpgrade: foo"},
		{"large header", "", limited, "", "GET / HTTP/1.1", "Connection: close\r\nCookie: " + strings.Repeat("a=b; ", 4000)},
		{"opaque path", "", h2, "", "GET foo:bar HTTP/1.1", "Connection: close"},
		{"header from the path", "", h1, "header_up X-Path {path}\n", "GET /%0a HTTP/1.1", "Connection: close"},
		{"host that is no name", "request_header Host \"xn--\u00e9\"\n", h1, "", "GET / HTTP/1.1", "Connection: close"},
		{"host that is no name, over h2c", "request_header Host \"xn--\u00e9\"\n", h2, "", "GET / HTTP/1.1", "Connection: close"},
	} {
		for _, retries := range []string{"", "lb_retries 2\n"} {
			t.Run(test.name+" "+strings.TrimSpace(retries), func(t *testing.T) {
				g := newRig(t)
				g.load(test.front + site("failures 1", test.upstream, test.proxy+retries))
				address := test.upstream[strings.LastIndex(test.upstream, "/")+1:]
				if test.front == "" {
					require.Equal(t, http.StatusOK, g.get("/").status) // the transport learns the limits of the peer
				}
				before := errorsOf(address)[failureOther]
				for range 2 {
					require.Regexp(t, `^HTTP/1.1 502 `, g.raw(test.line+"\r\nHost: edge\r\n"+test.fields+"\r\n\r\n"))
				}
				eventually(t, func() bool { return backend(t, address).Active() == 0 })
				requireState(t, address, breaker.Closed)
				require.Greater(t, errorsOf(address)[failureOther], before)
			})
		}
	}
}

// TestShortBody: over HTTP/3 a body that is shorter than its Content-Length ends
// like any other.
func TestShortBody(t *testing.T) {
	for _, test := range []struct {
		length int64
		failed bool
	}{{10, true}, {5, false}, {-1, false}} {
		b := &body{ReadCloser: io.NopCloser(strings.NewReader("hello"))}
		b.left.Store(test.length)
		_, err := io.ReadAll(b)
		require.NoError(t, err)
		_, ended := b.ended()
		require.Equal(t, []bool{test.failed, !test.failed}, []bool{b.failed.Load(), ended}, "%d", test.length)
	}
}

// TestAbortedByARoute: that a route aborts the response is the status's doing.
func TestAbortedByARoute(t *testing.T) {
	for _, test := range []struct {
		status int
		want   breaker.State
	}{{444, breaker.Closed}, {500, breaker.Open}} {
		a := newOrigin(t, "a")
		a.status(test.status, "")
		g := newRig(t)
		g.load(site("failures 2", a.address, fmt.Sprintf("@drop status %d\nhandle_response @drop {\nabort\n}", test.status)))
		before := errorsOf(a.address)
		for range 2 {
			require.Error(t, g.do(http.MethodPost, "/", nil).err)
		}
		eventually(t, func() bool { return backend(t, a.address).Active() == 0 })
		requireState(t, a.address, test.want)
		require.Equal(t, before, errorsOf(a.address))
	}
}

// TestGRPCRetried: a result for which the proxy tries again is a failure too, and when it
// must not try again the client does not get the status of a success.
func TestGRPCRetried(t *testing.T) {
	const retry = "lb_policy edge\nlb_retries 1\nlb_retry_match {\nexpression `{rp.header.Grpc-Status} == \"14\"`\n}"
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	a.serve(grpc(14, true))
	b.serve(grpc(0, true))
	g := newRig(t)
	g.load(pool("failures 2\nretry_methods any", retry, a.address, b.address))
	for range 8 {
		r := g.do("POST", "/", nil, "Content-Type: application/grpc")
		require.Equal(t, 200, r.status)
		require.Equal(t, "0", r.header.Get("Grpc-Status"))
	}
	requireState(t, a.address, breaker.Open)
	requireState(t, b.address, breaker.Closed)

	c := newOrigin(t, "c")
	c.serve(grpc(14, true))
	g.client.CloseIdleConnections() // a POST on one of the old config is not sent again
	g.load(pool("failures 1", retry, c.address))
	require.Equal(t, 502, g.do("POST", "/", nil, "Content-Type: application/grpc").status)
	requireState(t, c.address, breaker.Open)
}
