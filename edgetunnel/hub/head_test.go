package hub

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
)

func newRequest(t testing.TB, method, target string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, "http://example.com"+target, body)
	require.NoError(t, err)
	return r
}

// TestHeadsThatAreRefused could be read as something else than they are.
func TestHeadsThatAreRefused(t *testing.T) {
	for name, change := range map[string]func(r *http.Request){
		"value with a line":     func(r *http.Request) { r.Header.Set("X", "a\r\nHost: b") },
		"value with NUL":        func(r *http.Request) { r.Header.Set("X", "a\x00") },
		"name with a colon":     func(r *http.Request) { r.Header["X: a"] = []string{"b"} },
		"name with a line":      func(r *http.Request) { r.Header["X\r\nY"] = []string{"b"} },
		"empty name":            func(r *http.Request) { r.Header[""] = []string{"b"} },
		"method with a space":   func(r *http.Request) { r.Method = "GET /x" },
		"empty method":          func(r *http.Request) { r.Method = "" },
		"method with a line":    func(r *http.Request) { r.Method = "GET\r\n" },
		"CONNECT":               func(r *http.Request) { r.Method = http.MethodConnect },
		"target with a space":   func(r *http.Request) { r.URL = &url.URL{Opaque: "/a HTTP/1.1"} },
		"target with a line":    func(r *http.Request) { r.URL = &url.URL{Path: "/", RawQuery: "a\r\nX: y"} },
		"host with a line":      func(r *http.Request) { r.Host = "a\r\nX: y" },
		"host with a space":     func(r *http.Request) { r.Host = "a b" },
		"trailer with a line":   func(r *http.Request) { r.Trailer = http.Header{"A\r\nB": nil} },
		"trailer about framing": func(r *http.Request) { r.Trailer = http.Header{"Content-Length": nil} },
	} {
		r := newRequest(t, http.MethodPost, "/", strings.NewReader("body"))
		r.ContentLength = -1
		change(r)
		_, err := appendHead(nil, wire.Preface{Backend: "app"}, r, framingOf(r))
		require.Error(t, err, name)
	}
}

// TestFraming writes requests and reads them as an agent does.
func TestFraming(t *testing.T) {
	for name, test := range map[string]struct {
		change func(r *http.Request)
		body   string
		length int64
		err    error
	}{
		"length":    {func(*http.Request) {}, "body", 4, nil},
		"none":      {func(r *http.Request) { r.ContentLength, r.Body = 0, nil }, "", 0, nil},
		"empty":     {func(r *http.Request) { r.Body = http.NoBody }, "", 0, nil},
		"unknown":   {func(r *http.Request) { r.ContentLength = -1 }, "body", -1, nil},
		"trailer":   {func(r *http.Request) { r.Trailer = http.Header{"A": {"b"}} }, "body", -1, nil},
		"too short": {func(r *http.Request) { r.ContentLength = 5 }, "", 5, errShort},
		"too long":  {func(r *http.Request) { r.ContentLength = 3 }, "", 3, errLong},
		"lying header": {func(r *http.Request) {
			r.Header.Set("Content-Length", "1000")
			r.Header.Set("Transfer-Encoding", "chunked")
		}, "body", 4, nil},
		"upgrade":          {func(r *http.Request) { r.Header.Set("Upgrade", "websocket"); r.ContentLength = -1 }, "", 0, nil},
		"expectation":      {func(r *http.Request) { r.Header.Set("Expect", "100-continue") }, "body", 4, nil},
		"hop of a trailer": {func(r *http.Request) { r.Header.Set("Trailer", "X") }, "body", 4, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRequest(t, http.MethodPost, "/", strings.NewReader("body"))
			test.change(r)
			f := framingOf(r)
			b, err := appendHead(nil, wire.Preface{Backend: "app"}, r, f)
			require.NoError(t, err)
			out := bytes.NewBuffer(b)
			if f != noBody {
				require.ErrorIs(t, sendBody(out, r, f), test.err)
			}
			in := bufio.NewReader(out)
			_, err = wire.ReadPreface(in)
			require.NoError(t, err)
			got, err := http.ReadRequest(in)
			require.NoError(t, err)
			require.Equal(t, test.length, got.ContentLength)
			require.Empty(t, got.Header["Expect"])
			if test.err != nil {
				return
			}
			body, err := io.ReadAll(got.Body)
			require.NoError(t, err)
			require.Equal(t, test.body, string(body))
			require.Equal(t, r.Trailer.Get("A"), got.Trailer.Get("A"))
			require.Zero(t, in.Buffered(), "nothing is left for a second request")
		})
	}
}

// TestBrokenBody tells a body that can't be read from a stream that can't be written.
func TestBrokenBody(t *testing.T) {
	lost := errors.New("the client left")
	r := newRequest(t, http.MethodPost, "/", io.MultiReader(strings.NewReader("beginning"), failing{lost}))
	err := sendBody(io.Discard, r, framingOf(r))
	var ours bodyError
	require.ErrorAs(t, err, &ours)
	require.ErrorIs(t, err, lost)
	r = newRequest(t, http.MethodPost, "/", strings.NewReader("body"))
	require.NotErrorAs(t, sendBody(broken{}, r, framingOf(r)), &ours)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// FuzzHead writes a request with what a client may have sent, and wants an agent to read
// one request with the same fields, or none to be written.
func FuzzHead(f *testing.F) {
	f.Add("GET", "/a%2Fb?c", "example.com", "X-Name", "value")
	f.Add("POST", "//x", "[::1]:80", "Content-Length", "5")
	f.Add("GET", "/", "a", "X\r\nY", "z\r\n\r\nGET / HTTP/1.1")
	f.Fuzz(func(t *testing.T, method, target, host, name, value string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		r := &http.Request{Method: method, URL: u, Host: host, Header: http.Header{name: {value}}}
		b, err := appendHead(nil, wire.Preface{Backend: "app"}, r, framingOf(r))
		if err != nil {
			return
		}
		in := bufio.NewReader(bytes.NewReader(b))
		if _, err := wire.ReadPreface(in); err != nil {
			t.Fatal(err)
		}
		got, err := http.ReadRequest(in)
		if err != nil {
			return // the agent refuses it
		}
		if got.Method != method || in.Buffered() != 0 || len(got.Header) > 2 {
			t.Errorf("%q was read as %s %s with %v, and %d bytes are left", b, got.Method, got.RequestURI, got.Header, in.Buffered())
		}
	})
}
