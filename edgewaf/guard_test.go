package edgewaf

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddyedge/caddy-edge/internal/mmdbtest"
)

// TestChecks has one request for each check that refuses, in each mode.
func TestChecks(t *testing.T) {
	raw := func(target string, change func(*http.Request)) *http.Request {
		r := request(http.MethodGet, "/")
		r.RequestURI = target
		change(r)
		return r
	}
	cases := map[check]struct {
		options string
		request func() *http.Request
		status  int
	}{
		checkAccess:  {`"deny": {"addresses": ["192.0.2.0/24"]}`, func() *http.Request { return request("GET", "/") }, 403},
		checkConnect: {"", func() *http.Request { return raw("example.com:443", func(r *http.Request) { r.Method = "CONNECT" }) }, 405},
		checkTargetForm: {"", func() *http.Request {
			return raw("*", func(r *http.Request) { r.Method, r.URL = "OPTIONS", &url.URL{Path: "*"} })
		}, 400},
		checkMethod:      {"", func() *http.Request { return request("TRACE", "/") }, 405},
		checkH2C:         {"", func() *http.Request { return request("GET", "/", "Connection: Upgrade", "Upgrade: foo, H2C") }, 400},
		checkFieldCount:  {`"max_fields": 2`, func() *http.Request { return request("GET", "/", "A: 1", "A: 2") }, 431},
		checkFieldSize:   {`"max_field_size": 100`, func() *http.Request { return request("GET", "/", "A: "+strings.Repeat("x", 80)) }, 431},
		checkURILength:   {`"max_uri": 10`, func() *http.Request { return request("GET", "/0123456789") }, 414},
		checkHost:        {"", func() *http.Request { return request("GET", "/", "Host: a,b") }, 400},
		checkUnknownHost: {`"hosts": ["example.org", "*.example.net"]`, func() *http.Request { return request("GET", "/") }, 421},
		checkPathEncoding: {"", func() *http.Request {
			return raw("/%", func(r *http.Request) { r.URL = &url.URL{Path: "/%", RawPath: "/%"} })
		}, 400},
		checkPathOverlong:       {"", func() *http.Request { return request("GET", "/%c0%ae") }, 400},
		checkPathNUL:            {"", func() *http.Request { return request("GET", "/a%00.php") }, 400},
		checkPathControl:        {"", func() *http.Request { return request("GET", "/a%0a") }, 400},
		checkPathBackslash:      {"", func() *http.Request { return request("GET", `/a%5cb`) }, 400},
		checkPathTraversal:      {"", func() *http.Request { return request("GET", "/a/%2e%2e/b") }, 400},
		checkPathDoubleEncoding: {"", func() *http.Request { return request("GET", "/%2561") }, 400},
		checkPathParameter:      {`"checks": {"path_parameter": "enforce"}`, func() *http.Request { return request("GET", "/a;b=c/d") }, 400},
		checkQueryNUL:           {"", func() *http.Request { return request("GET", "/?a=%00") }, 400},
		checkQueryEncoding:      {`"checks": {"query_encoding": "enforce"}`, func() *http.Request { return request("GET", "/?a=100%") }, 400},
		checkBodySize: {`"max_body": 3`, func() *http.Request {
			r := request("POST", "/")
			r.Body, r.ContentLength = io.NopCloser(body(4)), 4
			return r
		}, 413},
	}
	for c, test := range cases {
		t.Run(c.String(), func(t *testing.T) {
			g := newRig(t, test.options)
			w := g.requireRefused(t, test.request(), c, test.status)
			require.Nil(t, g.seen, "nobody behind sees it")
			require.Equal(t, test.status == 405, w.Header().Get("Allow") == "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")

			shadow := newRig(t, `"mode": "shadow"`+prefixed(test.options))
			require.Equal(t, http.StatusOK, shadow.do(test.request()).Code)
			require.NotNil(t, shadow.seen)
			require.Equal(t, uint64(1), shadow.guard.state.counts[c][actionShadow].Load())
			off := newRig(t, `"mode": "off"`+prefixed(test.options))
			require.Equal(t, http.StatusOK, off.do(test.request()).Code)
			require.Zero(t, off.guard.state.counts[c][actionShadow].Load())
			for other := range check(checks) {
				if other != c {
					require.Zero(t, g.guard.state.counts[other][actionRefused].Load(), other)
				}
			}
		})
	}
	for c := range check(checks) {
		_, ok := cases[c]
		require.Equal(t, checkTable[c].status != 0, ok, "a case for each check that refuses: %s", c)
	}
}

func TestOrdinaryRequestsPass(t *testing.T) {
	g := newRig(t, "")
	for _, r := range []*http.Request{
		request("GET", "/"), request("HEAD", "/app.js?v=1"), request("OPTIONS", "/api", "Origin: https://other.example"),
		request("PUT", "/files/a%20b.txt"), request("PATCH", "/x"), request("DELETE", "/x"),
		request("GET", "/wiki/C%2B%2B", "Host: EXAMPLE.com:8080"), request("GET", "/search?q=%D0%B0+100%25&r=../x&u=http://a.example/"),
		request("GET", "/a%2Fb"), request("GET", "/", "Host: [::1]:80"), request("GET", "/?q=100%", "Connection: keep-alive"),
		request("GET", "/socket", "Connection: keep-alive, Upgrade", "Upgrade: websocket"),
		request("GET", "/tunnel", "Connection: Upgrade", "Upgrade: edge-tunnel/1"),
	} {
		before := r.Clone(r.Context())
		require.Equal(t, http.StatusOK, g.do(r).Code, r.RequestURI)
		require.Equal(t, before.URL, g.seen.URL)
		require.Equal(t, before.RequestURI, g.seen.RequestURI)
		g.seen.Header.Del("X-Request-Id")
		require.Equal(t, before.Header, g.seen.Header)
	}
}

func TestExtendedConnectPasses(t *testing.T) {
	g := newRig(t, "")
	h2 := request("GET", "/chat", ":protocol: websocket")
	h2.Method, h2.ProtoMajor, h2.Proto = "CONNECT", 2, "HTTP/2.0"
	h2.Header[":protocol"] = []string{"websocket"}
	require.Equal(t, http.StatusOK, g.do(h2).Code)
	h3 := request("GET", "/chat")
	h3.Method, h3.ProtoMajor, h3.Proto = "CONNECT", 3, "websocket"
	require.Equal(t, http.StatusOK, g.do(h3).Code)
	h3 = request("GET", "/chat")
	h3.Method, h3.ProtoMajor, h3.Proto = "CONNECT", 3, "connect-udp"
	g.requireRefused(t, h3, checkConnect, 405)
}

// TestExtendedConnectIsAGet: it is no way around the methods.
func TestExtendedConnectIsAGet(t *testing.T) {
	g := newRig(t, `"methods": ["POST"]`)
	for major, proto := range map[int]string{2: "HTTP/2.0", 3: "websocket"} {
		r := request("GET", "/chat")
		r.Method, r.ProtoMajor, r.Proto = "CONNECT", major, proto
		r.Header[":protocol"] = []string{"websocket"}
		g.requireRefused(t, r, checkMethod, 405)
	}
}

// TestExtendedConnectIsNoBody: the stream of a WebSocket may be as long as it likes.
func TestExtendedConnectIsNoBody(t *testing.T) {
	g := newRig(t, `"max_body": 3`)
	for major, proto := range map[int]string{2: "HTTP/2.0", 3: "websocket"} {
		var got []byte
		g.origin = func(w http.ResponseWriter, r *http.Request) (err error) {
			w.WriteHeader(http.StatusOK)
			got, err = io.ReadAll(r.Body)
			return err
		}
		r := request("GET", "/chat")
		r.Method, r.ProtoMajor, r.Proto = "CONNECT", major, proto
		r.Header[":protocol"] = []string{"websocket"}
		r.Body, r.ContentLength = io.NopCloser(body(4000)), -1
		require.Equal(t, http.StatusOK, g.do(r).Code)
		require.Len(t, got, 4000)
	}
}

func TestNormalization(t *testing.T) {
	for _, test := range []struct{ options, sent, uri, path string }{
		{"", "/%61dmin/%7euser?b=%2f&a=%41", "/admin/~user?b=%2F&a=A", "/admin/~user"},
		{"", "/a%2fb//./c", "/a%2Fb//./c", "/a/b//./c"},
		{"", "/a?b=c%zz%64#e", "/a?b=c%zz%64%23e", "/a"},
		{"", "http://example.com/x", "/x", "/x"},
		{"", "http://example.com", "/", "/"},
		{`"dot_segments": true`, "/a/./b/../c?", "/a/c?", "/a/c"},
		{`"merge_slashes": true`, "//a///b", "/a/b", "/a/b"},
		{`"mode": "shadow"`, "/%61", "/%61", "/a"},
		{`"checks": {"normalization": "off"}`, "/%61", "/%61", "/a"},
	} {
		g := newRig(t, test.options)
		r := request("GET", test.sent)
		require.Equal(t, http.StatusOK, g.do(r).Code)
		require.Equal(t, test.uri, g.seen.RequestURI)
		require.Equal(t, test.uri, g.seen.URL.RequestURI())
		require.Equal(t, test.path, g.seen.URL.Path)
		// What Caddy puts the URL back to for the error routes.
		original := g.seen.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
		require.Equal(t, test.path, original.URL.Path)
		require.Equal(t, test.uri, original.URL.RequestURI())
	}
	g := newRig(t, "")
	g.do(request("GET", "/%61"))
	require.Equal(t, uint64(1), g.guard.state.counts[checkNormalization][actionRepaired].Load())
}

// TestTargetsThatWereRewritten: what was sent is looked at too, since error routes get it.
func TestTargetsThatWereRewritten(t *testing.T) {
	rewritten := func(g *rig, sent, path string) (*http.Request, *httptest.ResponseRecorder) {
		w := httptest.NewRecorder()
		r := caddyhttp.PrepareRequest(request("GET", sent), caddy.NewReplacer(), w, g.server)
		r.URL = &url.URL{Path: path, RawQuery: r.URL.RawQuery}
		r.RequestURI = r.URL.RequestURI()
		require.NoError(t, g.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })))
		return r, w
	}
	g := newRig(t, "")
	for sent, c := range map[string]check{"/api/%2e%2e/x": checkPathTraversal, "/%2561/x": checkPathDoubleEncoding, "/a%00/x": checkPathNUL} {
		_, w := rewritten(g, sent, "/x")
		require.Equal(t, 400, w.Code, sent)
		require.Contains(t, w.Body.String(), `"check":"`+c.String()+`"`)
	}
	for _, test := range []struct{ sent, path, original, uri string }{
		{"/%61pi/x?q=%41", "/x", "/api/x?q=A", "/x?q=A"},
		{"/%61pi/x", "/x", "/api/x", "/x"}, // the rewritten one was in its normal form
		{"/api/x", "/ä", "/api/x", "/%C3%A4"},
	} {
		r, w := rewritten(g, test.sent, test.path)
		require.Equal(t, 200, w.Code)
		original := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
		require.Equal(t, test.original, original.URL.RequestURI())
		require.Equal(t, test.uri, r.RequestURI)
		require.Equal(t, test.path, r.URL.Path)
	}
	// A path that was sent in no valid form.
	_, w := rewritten(g, "http://user@example.com/x", "/x")
	require.Contains(t, w.Body.String(), `"check":"target_form"`)
}

func TestConnection(t *testing.T) {
	g := newRig(t, `"end_to_end": ["X-Edge-User"]`)
	g.do(request("GET", "/", "Connection: close, Cookie, X-Edge-User, X-Other, x-request-id", "Cookie: a=b", "X-Edge-User: bob", "X-Other: 1"))
	require.Equal(t, []string{"close"}, g.seen.Header["Connection"])
	require.Equal(t, "a=b", g.seen.Header.Get("Cookie"))
	require.Equal(t, "bob", g.seen.Header.Get("X-Edge-User"))
	require.NotEmpty(t, g.seen.Header.Get("X-Request-Id"))
	require.NotContains(t, g.seen.Header, "X-Other")
	require.Equal(t, uint64(1), g.guard.state.counts[checkConnection][actionRepaired].Load())

	shadow := newRig(t, `"checks": {"connection": "shadow"}`)
	shadow.do(request("GET", "/", "Connection: Cookie", "Cookie: a=b"))
	require.Equal(t, []string{"Cookie"}, shadow.seen.Header["Connection"])
	require.Equal(t, uint64(1), shadow.guard.state.counts[checkConnection][actionShadow].Load())
}

func TestBody(t *testing.T) {
	t.Run("as long as it may be", func(t *testing.T) {
		g := newRig(t, `"max_body": 1000`)
		var got int64
		g.origin = func(_ http.ResponseWriter, r *http.Request) (err error) {
			got, err = io.Copy(io.Discard, r.Body)
			return err
		}
		w := g.do(chunked(request("POST", "/"), body(1000)))
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, int64(1000), got)
		require.Equal(t, "close", w.Header().Get("Connection"))
	})
	t.Run("one byte more", func(t *testing.T) {
		g := newRig(t, `"max_body": 1000`)
		var got int64
		var failed, again error
		g.origin = func(_ http.ResponseWriter, r *http.Request) error {
			got, failed = io.Copy(io.Discard, r.Body)
			_, again = r.Body.Read(make([]byte, 1))
			return caddyhttp.Error(http.StatusBadGateway, failed)
		}
		w := g.requireRefused(t, chunked(request("POST", "/"), body(1001)), checkBodySize, 413)
		require.Equal(t, int64(1000), got)
		require.Error(t, failed)
		require.Error(t, again)
		he, ok := errors.AsType[caddyhttp.HandlerError](failed)
		require.True(t, ok)
		require.Equal(t, 413, he.StatusCode)
		require.Equal(t, "close", w.Header().Get("Connection"))
	})
	t.Run("the handler behind answers all the same", func(t *testing.T) {
		g := newRig(t, `"max_body": 3`)
		var written error
		g.origin = func(w http.ResponseWriter, r *http.Request) error {
			_, _ = io.ReadAll(r.Body)
			w.Header().Set("X-Origin", "1")
			w.WriteHeader(http.StatusOK)
			_, written = w.Write([]byte("all is well"))
			return written
		}
		w := g.requireRefused(t, chunked(request("POST", "/"), body(4)), checkBodySize, 413)
		require.Empty(t, w.Header().Get("X-Origin"))
		require.Error(t, written)
	})
	t.Run("a proxy behind breaks off what nobody takes", func(t *testing.T) {
		g := newRig(t, `"max_body": 3`)
		var flushed bool
		g.origin = func(w http.ResponseWriter, r *http.Request) error {
			_, _ = io.ReadAll(r.Body)
			w.WriteHeader(http.StatusOK)
			flushed = innermost(w).(*httptest.ResponseRecorder).Flushed
			if _, err := w.Write([]byte("all is well")); err != nil {
				panic(http.ErrAbortHandler)
			}
			return nil
		}
		g.requireRefused(t, chunked(request("POST", "/"), body(4)), checkBodySize, 413)
		require.True(t, flushed, "it is out before the handler ends")

		g.origin = func(w http.ResponseWriter, r *http.Request) error {
			_, _ = io.ReadAll(r.Body)
			w.WriteHeader(http.StatusOK)
			panic("a fault")
		}
		require.PanicsWithValue(t, "a fault", func() { g.do(chunked(request("POST", "/"), body(4))) })
	})
	t.Run("the header is out", func(t *testing.T) {
		g := newRig(t, `"max_body": 3`)
		g.origin = func(w http.ResponseWriter, r *http.Request) error {
			w.WriteHeader(http.StatusOK)
			_, err := io.ReadAll(r.Body)
			return err
		}
		require.PanicsWithValue(t, http.ErrAbortHandler, func() { g.do(chunked(request("POST", "/"), body(4))) })
		require.Equal(t, uint64(1), g.guard.state.counts[checkBodySize][actionRefused].Load())
	})
	t.Run("the handler behind breaks off", func(t *testing.T) {
		g := newRig(t, `"max_body": 3`)
		g.origin = func(w http.ResponseWriter, r *http.Request) error {
			w.WriteHeader(http.StatusOK)
			_, _ = io.ReadAll(r.Body)
			panic(http.ErrAbortHandler) // as a proxy does
		}
		require.PanicsWithValue(t, http.ErrAbortHandler, func() { g.do(chunked(request("POST", "/"), body(4))) })
		require.Equal(t, uint64(1), g.guard.state.counts[checkBodySize][actionRefused].Load())
		check, _ := g.repl.Get("http.edge_guard.check")
		require.Equal(t, "body_size", check)
	})
	t.Run("shadow", func(t *testing.T) {
		g := newRig(t, `"max_body": 3, "checks": {"body_size": "shadow"}`)
		var got []byte
		g.origin = func(_ http.ResponseWriter, r *http.Request) (err error) {
			got, err = io.ReadAll(r.Body)
			return err
		}
		require.Equal(t, http.StatusOK, g.do(chunked(request("POST", "/"), body(40))).Code)
		require.Len(t, got, 40)
		require.Equal(t, uint64(1), g.guard.state.counts[checkBodySize][actionShadow].Load())
	})
}

// hijackable is a writer with a connection to be had.
type hijackable struct{ *httptest.ResponseRecorder }

func (*hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, nil }

// broken is a body that ends in an error.
type broken struct{ io.Reader }

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = errors.New("malformed chunked encoding")
	}
	return n, err
}

func TestFraming(t *testing.T) {
	for _, test := range []struct {
		name, options  string
		trusted, close bool
	}{
		{"anybody", "", false, true},
		{"a trusted peer", "", true, true},
		{"anybody, where trusted peers are excepted", `"chunked": "trusted"`, false, true},
		{"a trusted peer, where they are excepted", `"chunked": "trusted"`, true, false},
		{"shadow", `"checks": {"framing": "shadow"}`, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newRig(t, test.options)
			g.trusted = test.trusted
			w := g.do(chunked(request("POST", "/"), body(4)))
			require.Equal(t, test.close, w.Header().Get("Connection") == "close")
			w = g.do(request("GET", "/"))
			require.Empty(t, w.Header().Get("Connection"), "no body")
			g.origin = func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(404, nil) }
			w = g.do(chunked(request("POST", "/"), body(4)))
			require.Equal(t, test.close, w.Header().Get("Connection") == "close", "an error of the handler behind")
		})
	}
	t.Run("a refusal", func(t *testing.T) {
		g := newRig(t, "")
		w := g.requireRefused(t, chunked(request("TRACE", "/"), body(4)), checkMethod, 405)
		require.Equal(t, "close", w.Header().Get("Connection"))
		g = newRig(t, `"respond": "error"`)
		w = g.do(chunked(request("TRACE", "/"), body(4)))
		require.Equal(t, "close", w.Header().Get("Connection"))
	})
	t.Run("a broken body", func(t *testing.T) {
		g := newRig(t, `"chunked": "trusted"`)
		g.trusted = true
		w := g.do(chunked(request("POST", "/"), broken{body(4)}))
		require.Equal(t, http.StatusBadGateway, w.Code)
		require.Equal(t, "close", w.Header().Get("Connection"))
		g.origin = func(w http.ResponseWriter, r *http.Request) error {
			w.WriteHeader(http.StatusOK)
			_, _ = io.Copy(io.Discard, r.Body)
			return nil
		}
		require.PanicsWithValue(t, http.ErrAbortHandler, func() { g.do(chunked(request("POST", "/"), broken{body(4)})) })
		closing := newRig(t, "") // the connection is closed in any case, the response must be broken off too
		closing.origin = g.origin
		require.PanicsWithValue(t, http.ErrAbortHandler, func() { closing.do(chunked(request("POST", "/"), broken{body(4)})) })
	})
	t.Run("a hijacked connection", func(t *testing.T) {
		g := newRig(t, "")
		var hijack, failed error
		g.origin = func(w http.ResponseWriter, r *http.Request) error {
			_, _, hijack = http.NewResponseController(w).Hijack()
			_, failed = io.ReadAll(r.Body)
			return nil
		}
		w := &hijackable{ResponseRecorder: httptest.NewRecorder()}
		g.serve(w, chunked(request("GET", "/", "Connection: Upgrade", "Upgrade: x"), broken{body(4)}))
		require.NoError(t, hijack)
		require.Error(t, failed)
		require.Empty(t, w.Header(), "what follows is no response")
		require.False(t, w.Flushed)
	})
	t.Run("a connection that can't be hijacked", func(t *testing.T) {
		g := newRig(t, "")
		g.origin = func(w http.ResponseWriter, _ *http.Request) error {
			_, _, err := http.NewResponseController(w).Hijack()
			return caddyhttp.Error(http.StatusBadGateway, err)
		}
		require.NotEmpty(t, g.get("/").Header().Get("X-Request-Id"))
	})
}

// TestRefusalDoesNotWaitForTheBody: a client that waits for "100 Continue" gets the
// response instead.
func TestRefusalDoesNotWaitForTheBody(t *testing.T) {
	notFound := func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(http.StatusNotFound, nil) }
	for _, test := range []struct {
		options, method string
		status          int
	}{
		{`"respond": "direct"`, "TRACE", 405}, {`"respond": "error"`, "TRACE", 405}, {"", "POST", 404},
	} {
		g := newRig(t, test.options)
		g.origin = notFound
		server := httptest.NewServer(http.HandlerFunc(g.serve))
		t.Cleanup(server.Close)
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() }) // the server waits for that
		require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
		_, err = fmt.Fprintf(conn, "%s / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n", test.method)
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err, test)
		require.Equal(t, test.status, resp.StatusCode)
		require.True(t, resp.Close)
		require.NoError(t, resp.Body.Close())
	}
}

// TestReplacedResponseArrives: the client reads the 413 although the proxy broke off and
// the rest of the body is still to come, over both protocols.
func TestReplacedResponseArrives(t *testing.T) {
	g := newRig(t, `"max_body": 3`)
	g.origin = func(w http.ResponseWriter, r *http.Request) error {
		_, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusOK)
		if _, err := io.Copy(w, strings.NewReader("all is well")); err != nil {
			panic(http.ErrAbortHandler)
		}
		return nil
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(g.serve))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	for major := 1; major <= 2; major++ {
		transport := server.Client().Transport.(*http.Transport).Clone()
		if major == 1 {
			transport.ForceAttemptHTTP2, transport.TLSNextProto = false, make(map[string]func(string, *tls.Conn) http.RoundTripper)
			transport.TLSClientConfig.NextProtos = nil
		}
		t.Cleanup(transport.CloseIdleConnections)
		req, err := http.NewRequest(http.MethodPost, server.URL, io.NopCloser(body(10)))
		require.NoError(t, err)
		resp, err := (&http.Client{Transport: transport}).Do(req)
		require.NoError(t, err)
		require.Equal(t, major, resp.ProtoMajor)
		require.Equal(t, 413, resp.StatusCode)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Contains(t, string(got), `"check":"body_size"`)
		require.NoError(t, resp.Body.Close())
	}
}

func TestRequestID(t *testing.T) {
	const uuid = `^[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`
	for _, test := range []struct {
		name, options, sent, want string
		trusted                   bool
	}{
		{"made", "", "", uuid, false},
		{"of a stranger", "", "mine", uuid, false},
		{"of a trusted peer", "", "theirs-1", "^theirs-1$", true},
		{"invalid", "", "a b", uuid, true},
		{"replaced", `"request_id": "replace"`, "theirs-1", uuid, true},
		{"version 7", `"request_id_version": 7`, "", `^[0-9a-f]{8}-[0-9a-f]{4}-7`, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newRig(t, test.options)
			g.trusted = test.trusted
			g.origin = func(w http.ResponseWriter, _ *http.Request) error {
				w.Header().Set("X-Request-Id", "the origin's")
				return nil
			}
			var fields []string
			if test.sent != "" {
				fields = []string{"X-Request-Id: " + test.sent}
			}
			w := g.get("/", fields...)
			g.origin(w, nil)
			require.Len(t, g.seen.Header["X-Request-Id"], 1)
			require.Regexp(t, test.want, g.seen.Header.Get("X-Request-Id"))
			id, _ := g.repl.Get("http.edge_guard.request_id")
			require.Equal(t, g.seen.Header.Get("X-Request-Id"), id)
			g.origin = func(w http.ResponseWriter, _ *http.Request) error {
				w.Header().Set("X-Request-Id", "the origin's")
				w.WriteHeader(http.StatusNoContent)
				return nil
			}
			w = g.get("/", fields...)
			require.Equal(t, []string{g.seen.Header.Get("X-Request-Id")}, w.Header()["X-Request-Id"])
		})
	}
	g := newRig(t, `"request_id": "off"`)
	w := g.get("/", "X-Request-Id: mine")
	require.Equal(t, "mine", g.seen.Header.Get("X-Request-Id"))
	require.Empty(t, w.Header()["X-Request-Id"])
	w = g.do(request("TRACE", "/"))
	require.JSONEq(t, `{"error": "method not allowed", "check": "method"}`, w.Body.String())

	g = newRig(t, `"request_id_header": "x-trace"`)
	w = g.get("/")
	require.Equal(t, w.Header().Get("X-Trace"), g.seen.Header.Get("X-Trace"))
	require.NotEmpty(t, w.Header().Get("X-Trace"))
}

// TestRequestIDOfTwoGuards: a request has one id.
func TestRequestIDOfTwoGuards(t *testing.T) {
	outer, inner := newRig(t, ""), newRig(t, "")
	outer.origin = func(w http.ResponseWriter, r *http.Request) error {
		return inner.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(http.StatusOK)
			return nil
		}))
	}
	w := outer.get("/")
	require.Equal(t, []string{w.Header().Get("X-Request-Id")}, outer.seen.Header["X-Request-Id"])
}

// TestPlaceholdersOfTwoGuards: they tell what either found.
func TestPlaceholdersOfTwoGuards(t *testing.T) {
	outer, inner := newRig(t, `"request_id": "off", "checks": {"method": "shadow", "h2c": "off"}`), newRig(t, `"mask_ipv4": 16, "checks": {"h2c": "shadow"}`)
	outer.server.Logs = new(caddyhttp.ServerLogConfig)
	var shared *findings
	outer.origin = func(w http.ResponseWriter, r *http.Request) error {
		return inner.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			w.WriteHeader(http.StatusOK)
			shared, _ = caddyhttp.GetVar(r.Context(), findingsVar).(*findings)
			return nil
		}))
	}
	placeholder := func(name string) any {
		value, ok := outer.repl.Get("http.edge_guard." + name)
		require.True(t, ok)
		return value
	}
	inner.guard.methods["TRACE"] = true
	w := outer.do(request("TRACE", "/", "Upgrade: h2c"))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "method,h2c", shared.shadow)
	require.Empty(t, placeholder("check"))
	require.NotEmpty(t, w.Header().Get("X-Request-Id"))
	require.Equal(t, w.Header().Get("X-Request-Id"), placeholder("request_id"))
	require.Equal(t, "192.0.0.0", placeholder("client_masked"))
	require.Equal(t, 405, outer.do(request("PURGE", "/")).Code)
	require.Equal(t, "method", placeholder("check"), "the one behind refused it")
}

func TestSecurityHeaders(t *testing.T) {
	answer := func(g *rig, fields ...string) http.Header {
		g.origin = func(w http.ResponseWriter, _ *http.Request) error {
			for i := 0; i < len(fields); i += 2 {
				w.Header().Set(fields[i], fields[i+1])
			}
			_, err := io.WriteString(w, "x")
			return err
		}
		h := g.get("/").Header()
		h.Del("X-Request-Id")
		h.Del("Content-Type")
		return h
	}
	g := newRig(t, `"security_headers": {}`)
	defaults := http.Header{
		"X-Content-Type-Options": {"nosniff"}, "X-Frame-Options": {"DENY"}, "Referrer-Policy": {"strict-origin-when-cross-origin"},
		"Permissions-Policy": {"camera=(), microphone=(), geolocation=()"}, "X-Xss-Protection": {"0"}, "Server": {"edge"},
	}
	require.Equal(t, defaults, answer(g, "Server", "nginx/1.2", "X-Powered-By", "PHP/5"))
	got := answer(g, "X-Frame-Options", "SAMEORIGIN")
	require.Equal(t, []string{"SAMEORIGIN"}, got["X-Frame-Options"], "what is there stays")
	g = newRig(t, `"security_headers": {"override": true}`)
	require.Equal(t, defaults, answer(g, "X-Frame-Options", "SAMEORIGIN", "Referrer-Policy", "unsafe-url"))
	g = newRig(t, `"security_headers": {"frame_options": "off", "referrer_policy": "no-referrer", "permissions_policy": "off", "server": "off"}`)
	require.Equal(t, http.Header{"X-Content-Type-Options": {"nosniff"}, "Referrer-Policy": {"no-referrer"}, "X-Xss-Protection": {"0"}}, answer(g, "Server", "x"))
	// Refusals have them too, whoever writes them.
	g = newRig(t, `"security_headers": {}`)
	require.Equal(t, "nosniff", g.do(request("TRACE", "/")).Header().Get("X-Content-Type-Options"))
	g = newRig(t, `"security_headers": {}, "respond": "error"`)
	w := g.do(request("TRACE", "/"))
	require.Equal(t, 405, w.Code)
	require.Contains(t, w.Body.String(), "method not allowed")
	require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
	require.NotEmpty(t, w.Header().Get("Allow"))
	// A switch of protocols is no response.
	g = newRig(t, `"security_headers": {}`)
	g.origin = func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusSwitchingProtocols)
		return nil
	}
	require.Empty(t, g.get("/").Header())
}

func TestRefusalsByErrorRoutes(t *testing.T) {
	g := newRig(t, "")
	g.server.Errors = &caddyhttp.HTTPErrorConfig{Routes: caddyhttp.RouteList{{}}}
	w := g.do(request("TRACE", "/"))
	require.Equal(t, 405, w.Code)
	require.Contains(t, w.Body.String(), "method not allowed")
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	g = newRig(t, `"respond": "direct"`)
	g.server.Errors = &caddyhttp.HTTPErrorConfig{Routes: caddyhttp.RouteList{{}}}
	g.requireRefused(t, request("TRACE", "/"), checkMethod, 405)
}

// TestErrorRoutesGetTheNormalForm: a request that was refused before its target and its
// Connection were looked at reaches the error routes as others reach the handlers behind.
func TestErrorRoutesGetTheNormalForm(t *testing.T) {
	refused := func(options string) *http.Request {
		g := newRig(t, `"respond": "error"`+prefixed(options))
		w := httptest.NewRecorder()
		r := caddyhttp.PrepareRequest(request("TRACE", "/%61/%2fb?q=%41", "Connection: close, Cookie, X-Other", "Cookie: a=b", "X-Other: 1"),
			caddy.NewReplacer(), w, g.server)
		require.Error(t, g.ServeHTTP(w, r, nil))
		return r
	}
	r := refused("")
	original := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	require.Equal(t, "/a/%2Fb?q=A", original.URL.RequestURI())
	require.Equal(t, "/a/%2Fb?q=A", r.URL.RequestURI())
	require.Equal(t, "/a/%2Fb?q=A", r.RequestURI)
	require.Equal(t, []string{"close"}, r.Header["Connection"])
	require.Equal(t, "a=b", r.Header.Get("Cookie"))
	require.NotContains(t, r.Header, "X-Other")

	r = refused(`"checks": {"normalization": "shadow", "connection": "shadow"}`)
	original = r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	require.Equal(t, "/%61/%2fb?q=%41", original.URL.RequestURI())
	require.Equal(t, []string{"close, Cookie, X-Other"}, r.Header["Connection"])
}

func TestMaskedClient(t *testing.T) {
	for _, test := range []struct{ options, remote, want string }{
		{"", "192.0.2.77:1", "192.0.2.0"},
		{"", "[2001:db8:1:2:3::4]:1", "2001:db8:1::"},
		{`"mask_ipv4": 16, "mask_ipv6": 32`, "192.0.2.77:1", "192.0.0.0"},
		{`"mask_ipv4": 16, "mask_ipv6": 32`, "[2001:db8:1:2:3::4]:1", "2001:db8::"},
		{"", "@:1", ""},
	} {
		g := newRig(t, test.options)
		r := request("GET", "/")
		r.RemoteAddr = test.remote
		g.do(r)
		got, ok := g.repl.Get("http.edge_guard.client_masked")
		require.True(t, ok)
		require.Equal(t, test.want, got)
	}
}

func TestAccess(t *testing.T) {
	list := file(t, "list.txt", []byte("198.51.100.0/24\n"))
	country := file(t, "country.mmdb", mmdbtest.Build("Test", mmdbtest.Networks{"203.0.113.0/24": mmdbtest.Country("DE")}))
	asn := file(t, "asn.mmdb", mmdbtest.Build("Test", mmdbtest.Networks{"203.0.113.0/25": mmdbtest.ASN(64500)}))
	g := newRig(t, `"allow": {"addresses": ["198.51.100.7"], "asns": [64500]}, "deny": {"files": ["`+list+`"], "countries": ["de"]}, "asn_database": "`+asn+`", "country_database": "`+country+`"`)
	for remote, status := range map[string]int{
		"192.0.2.1:1": 200, "198.51.100.7:1": 200, "198.51.100.8:1": 403, "203.0.113.1:1": 200, "203.0.113.200:1": 403, "@:1": 200,
	} {
		r := request("GET", "/")
		r.RemoteAddr = remote
		require.Equal(t, status, g.do(r).Code, remote)
	}
	g = newRig(t, `"allow": {"addresses": ["198.51.100.7"]}, "otherwise": "deny"`)
	r := request("GET", "/")
	r.RemoteAddr = "@:1"
	require.Equal(t, 403, g.do(r).Code)
	r = request("GET", "/")
	r.RemoteAddr = "198.51.100.7:1"
	require.Equal(t, 200, g.do(r).Code)
}

// TestAccessOfEarlyData: an address that was not verified decides nothing.
func TestAccessOfEarlyData(t *testing.T) {
	early := func(complete bool) *http.Request {
		r := request("GET", "/")
		r.ProtoMajor, r.TLS = 3, &tls.ConnectionState{HandshakeComplete: complete}
		return r
	}
	for _, options := range []string{
		`"deny": {"addresses": ["198.51.100.0/24"]}`, `"allow": {"addresses": ["192.0.2.1"]}, "otherwise": "deny"`,
		`"deny": {"addresses": ["198.51.100.0/24"]}, "checks": {"access": "shadow"}`,
	} {
		g := newRig(t, options+`, "security_headers": {}`)
		w := g.do(early(false))
		require.Equal(t, http.StatusTooEarly, w.Code, options)
		require.Nil(t, g.seen)
		require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		require.NotEmpty(t, w.Header().Get("X-Request-Id"))
		require.Equal(t, http.StatusOK, g.do(early(true)).Code)
	}
	for _, options := range []string{"", `"deny": {"addresses": ["198.51.100.0/24"]}, "checks": {"access": "off"}`} {
		require.Equal(t, http.StatusOK, newRig(t, options).do(early(false)).Code, "no list is asked")
	}
}

// TestAccessWarnsOfAddressesThatClientsChoose: once, and only where it matters.
func TestAccessWarnsOfAddressesThatClientsChoose(t *testing.T) {
	warnings := func(options string, strict int, trusted bool) int {
		g := newRig(t, options)
		core, logs := observer.New(zap.WarnLevel)
		g.guard.logger = zap.New(core)
		g.server.TrustedProxiesStrict, g.trusted = strict, trusted
		for range 3 {
			require.Equal(t, http.StatusOK, g.get("/").Code)
		}
		return logs.FilterMessageSnippet("trusted_proxies_strict").Len()
	}
	const lists = `"deny": {"addresses": ["198.51.100.0/24"]}`
	require.Equal(t, 1, warnings(lists, 0, true))
	require.Zero(t, warnings(lists, 1, true))
	require.Zero(t, warnings(lists, 0, false))
	require.Zero(t, warnings(lists+`, "checks": {"access": "off"}`, 0, true))
	require.Zero(t, warnings("", 0, true))
}

func TestHosts(t *testing.T) {
	g := newRig(t, `"hosts": ["Example.org", "*.example.net"]`)
	for host, status := range map[string]int{
		"example.org": 200, "EXAMPLE.ORG.:8080": 200, "a.example.net": 200, "example.net": 421, "a.b.example.net": 421, "example.org.evil.example": 421, "": 400,
	} {
		require.Equal(t, status, g.get("/", "Host: "+host).Code, host)
	}
}

// sink is the least response writer there can be.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

func TestWriterPassesInterfaces(t *testing.T) {
	g := newRig(t, "")
	var flushed error
	g.origin = func(w http.ResponseWriter, _ *http.Request) error {
		flushed = http.NewResponseController(w).Flush()
		_, err := io.Copy(w, strings.NewReader("x"))
		return err
	}
	w := g.get("/")
	require.NoError(t, flushed)
	require.True(t, w.Flushed)
	require.Equal(t, "x", w.Body.String())
}
