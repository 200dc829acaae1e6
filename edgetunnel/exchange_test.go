package edgetunnel

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgetunnel/agent"
)

func sha(text string) []byte {
	h := sha256.Sum256([]byte(text))
	return h[:]
}

func noise(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func TestMethodsAndTargets(t *testing.T) {
	e := newEdge(t)
	e.load()
	e.connect("a", http.HandlerFunc(echo))
	e.serving(1)
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "REPORT"} {
		for _, target := range []string{"/", "/a%2Fb/..%2f?x=%20;y&z", "/%E4?", "/a//b"} {
			var body io.Reader
			if method == "POST" || method == "PUT" || method == "DELETE" {
				body = strings.NewReader("body")
			}
			resp, err := client(t).Do(request(t, method, e.url()+target, body))
			require.NoError(t, err)
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			want := fmt.Sprintf("%s %s 127.0.0.1:%s ", method, target, e.port)
			if body != nil {
				want += "body"
			}
			require.Equal(t, want, string(got))
		}
	}
	resp, err := client(t).Head(e.url() + "/")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.NoError(t, resp.Body.Close())
}

// TestBodies sends and receives bodies of all sizes in both framings, whole.
func TestBodies(t *testing.T) {
	e := newEdge(t)
	e.load()
	e.connect("a", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if r.ContentLength >= 0 {
			w.Header().Set("Content-Length", fmt.Sprint(r.ContentLength))
		}
		_, _ = w.Write(body)
	}))
	e.serving(1)
	c := client(t)
	for _, size := range []int{0, 1, 16 << 10, 64<<10 - 1, 64 << 10, 100_000, 5 << 20} {
		for _, chunked := range []bool{false, true} {
			text := noise(size)
			var body io.Reader = bytes.NewReader(text)
			if chunked {
				body = io.MultiReader(body)
			}
			resp, err := c.Do(request(t, "POST", e.url()+"/", body))
			require.NoError(t, err)
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.True(t, bytes.Equal(text, got), "%d bytes, chunked: %t", size, chunked)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	e := newEdge(t)
	e.load()
	e.connect("a", http.HandlerFunc(echo))
	e.serving(1)
	c := client(t)
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			for j := range 20 {
				text := fmt.Sprintf("%d %d", i, j)
				resp, err := c.Post(e.url()+"/x", "text/plain", strings.NewReader(text))
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || !strings.HasSuffix(string(body), " "+text) {
					t.Errorf("%q: %v", body, err)
				}
			}
		})
	}
	all.Wait()
	h := peekHub()
	require.Eventually(t, func() bool {
		a := h.All()[0]
		return a.Active() == 0 && a.Held() == 0
	}, patience, time.Millisecond)
	require.Equal(t, int64(2000), h.All()[0].Requests())
}

func TestTrailersAndInformation(t *testing.T) {
	e := newEdge(t)
	e.load()
	e.connect("a", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "Announced")
		w.WriteHeader(http.StatusOK)
		fmt.Fprintf(w, "asked with %s", r.Trailer.Get("Asked"))
		w.Header().Set("Announced", "one")
		w.Header().Set(http.TrailerPrefix+"Sudden", "two")
	}))
	e.serving(1)
	r := request(t, "POST", e.url()+"/", io.MultiReader(strings.NewReader("body")), "TE: trailers")
	r.Trailer = http.Header{"Asked": {"three"}}
	var hints []string
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = append(hints, fmt.Sprint(code, h.Get("Link")))
		return nil
	}}))
	resp, err := client(t).Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "asked with three", string(body))
	require.Equal(t, []string{"103</style.css>; rel=preload"}, hints)
	require.Equal(t, http.Header{"Announced": {"one"}, "Sudden": {"two"}}, resp.Trailer)
}

// TestStreams wants each event when it was sent, in both directions.
func TestStreams(t *testing.T) {
	e := newEdge(t)
	e.load()
	next := make(chan string)
	e.connect("a", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		w.Header().Set("Content-Type", "text/event-stream")
		in := bufio.NewReader(r.Body)
		for event := range next {
			fmt.Fprint(w, event)
			_ = rc.Flush()
			if event == "ask" {
				line, _ := in.ReadString('\n')
				fmt.Fprint(w, line)
				_ = rc.Flush()
			}
		}
	}))
	e.serving(1)
	t.Cleanup(func() { close(next) })
	body, send := io.Pipe()
	t.Cleanup(func() { _ = send.Close() })
	first := make(chan struct{})
	go func() {
		_, _ = send.Write([]byte("\n"))
		close(first)
	}()
	go func() { next <- "one" }()
	resp, err := h2cClient(t).Do(request(t, "POST", e.url()+"/", body))
	require.NoError(t, err)
	defer resp.Body.Close()
	<-first
	read := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		_, err := io.ReadFull(resp.Body, got)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	read("one")
	next <- "two"
	read("two")
	next <- "ask"
	read("ask\n")
	next <- "ask"
	_, err = send.Write([]byte("answer\n"))
	require.NoError(t, err)
	read("askanswer\n")
}

// TestUpgrade has a backend that switches to a protocol of its own.
func TestUpgrade(t *testing.T) {
	e := newEdge(t)
	e.load()
	e.connect("a", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "echo" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst\n")
		_ = rw.Flush()
		_, _ = io.Copy(conn, rw)
	}))
	e.serving(1)
	conn, in := e.dialUpgrade()
	line := func() string {
		text, err := in.ReadString('\n')
		require.NoError(t, err)
		return text
	}
	require.Equal(t, "first\n", line())
	for i := range 10 {
		fmt.Fprintf(conn, "line %d\n", i)
		require.Equal(t, fmt.Sprintf("line %d\n", i), line())
	}
}

// TestCancellationReachesTheBackend has clients that leave, before the header of the
// response and in its body.
func TestCancellationReachesTheBackend(t *testing.T) {
	e := newEdge(t)
	e.load()
	begun, ended := make(chan struct{}), make(chan error)
	e.connect("a", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			_, _ = w.Write([]byte("beginning"))
			_ = http.NewResponseController(w).Flush()
		}
		begun <- struct{}{}
		<-r.Context().Done()
		ended <- r.Context().Err()
	}))
	e.serving(1)
	c := client(t)
	for _, path := range []string{"/header", "/body"} {
		ctx, cancel := context.WithCancel(context.Background())
		r := request(t, "GET", e.url()+path, nil).WithContext(ctx)
		go func() {
			resp, err := c.Do(r)
			if err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		}()
		<-begun
		cancel()
		select {
		case err := <-ended:
			require.ErrorIs(t, err, context.Canceled)
		case <-time.After(patience):
			require.Fail(t, "the backend was not told", path)
		}
	}
	require.Eventually(t, func() bool { return peekHub().All()[0].Active() == 0 }, patience, time.Millisecond)
}

// TestBrokenResponse has backends that break off: clients must see it.
func TestBrokenResponse(t *testing.T) {
	e := newEdge(t)
	e.load()
	e.connect("a", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", "1000")
		}
		_, _ = w.Write(make([]byte, 500))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	e.serving(1)
	for _, path := range []string{"/length", "/chunked"} {
		resp, err := client(t).Get(e.url() + path)
		require.NoError(t, err)
		_, err = io.ReadAll(resp.Body)
		require.Error(t, err, path)
		_ = resp.Body.Close()
	}
}

// TestBackendThatIsNotHTTP answers with something else, and with a header without end.
func TestBackendThatIsNotHTTP(t *testing.T) {
	for name, answer := range map[string]string{
		"text":    "SSH-2.0-OpenSSH_9.6\r\n\r\n",
		"nothing": "",
		"header":  "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2<<20) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			to := rawBackend(t, func(c net.Conn) {
				_, _ = http.ReadRequest(bufio.NewReader(c))
				_, _ = io.WriteString(c, answer)
			})
			e := newEdge(t)
			e.load()
			e.connectTo("a", to)
			e.serving(1)
			status, _ := e.get("/")
			require.Equal(t, http.StatusBadGateway, status)
			require.Eventually(t, func() bool { return peekHub().All()[0].Active() == 0 }, patience, time.Millisecond)
		})
	}
}

// TestBackendThatIsDown is asked by no request: another agent has it instead.
func TestBackendThatIsDown(t *testing.T) {
	e := newEdge(t)
	e.proxy = "lb_retries 3\nlb_policy round_robin"
	e.load()
	e.connectTo("a-down", "127.0.0.1:"+freePort(t))
	e.serving(1)
	status, _ := e.get("/")
	require.Equal(t, http.StatusBadGateway, status)
	e.connect("b-up", http.HandlerFunc(echo))
	e.serving(2)
	for _, method := range []string{"GET", "POST", "DELETE"} {
		resp, err := client(t).Do(request(t, method, e.url()+"/", strings.NewReader("body")))
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode, method)
		require.True(t, strings.HasSuffix(string(body), "body"), "the body is whole: %s", body)
	}
}

// TestNothingIsSentTwice has backends that take a request and end the connection: that
// another agent has one must not be tried.
func TestNothingIsSentTwice(t *testing.T) {
	var taken sync.Map
	to := rawBackend(t, func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		if _, again := taken.LoadOrStore(r.RequestURI, true); again {
			t.Errorf("%s %s was sent twice", r.Method, r.RequestURI)
		}
	})
	e := newEdge(t)
	e.proxy = "lb_retries 3\nlb_policy round_robin"
	e.load()
	e.connectTo("a", to)
	e.connectTo("b", to)
	e.serving(2)
	for i := range 20 {
		for _, method := range []string{"DELETE", "POST", "PUT"} {
			var body io.Reader
			if i%2 == 0 {
				body = strings.NewReader("body")
			}
			resp, err := client(t).Do(request(t, method, fmt.Sprintf("%s/%s/%d", e.url(), method, i), body))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, http.StatusBadGateway, resp.StatusCode)
		}
	}
}

// TestClientAddress is what backends see of the client.
func TestClientAddress(t *testing.T) {
	e := newEdge(t)
	e.load()
	e.connect("a", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Forwarded-For"), " ", r.Header.Get("X-Forwarded-Proto"), " ", r.Header.Get("X-Forwarded-Host"))
	}))
	e.serving(1)
	_, body := e.get("/")
	require.Equal(t, "127.0.0.1 http 127.0.0.1:"+e.port, body)
}

func TestForwardOptions(t *testing.T) {
	e := newEdge(t)
	e.load()
	e.connect("a", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Host, " ", r.RequestURI, " ", r.Header.Get("Cookie"), r.Header.Get("Authorization"))
	}), func(f *agent.Forward) {
		f.To += "/base/"
		f.Host, f.StripPrefix, f.Paths, f.StripCredentials = "app.internal", "/pre", []string{"/pre", "/open/"}, true
	})
	e.serving(1)
	for path, want := range map[string]string{
		"/pre/x%2Fy?q": "app.internal /base/x%2Fy?q ", "/pre": "app.internal /base/ ", "/open/a": "app.internal /base/open/a ",
	} {
		r := request(t, "GET", e.url()+path, nil, "Cookie: a=b", "Authorization: Bearer x")
		resp, err := client(t).Do(r)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, string(body), path)
	}
	for _, path := range []string{"/", "/prefix", "/open", "/pre/../admin", "/pre/..%2fadmin", "/pre/%2e%2e/admin", "/pre/..;/admin", "/pre/.."} {
		status, body := raw(t, e.port, "GET "+path+" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
		require.Equal(t, http.StatusNotFound, status, "%s: %s", path, body)
	}
}

// raw sends a request as it is.
func raw(t testing.TB, port, text string) (int, string) {
	t.Helper()
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, text)
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// TestH2CBackend streams in both directions to a backend with HTTP/2, as gRPC does.
func TestH2CBackend(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Grpc-Status")
		w.Header().Set("Proto", r.Proto)
		_ = http.NewResponseController(w).Flush()
		in := bufio.NewReader(r.Body)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				break
			}
			fmt.Fprint(w, "got ", line)
			_ = http.NewResponseController(w).Flush()
		}
		w.Header().Set("Grpc-Status", "0")
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	e := newEdge(t)
	e.load()
	e.connectTo("a", "h2c://"+server.Listener.Addr().String())
	e.serving(1)
	body, send := io.Pipe()
	go fmt.Fprint(send, "one\n")
	resp, err := h2cClient(t).Do(request(t, "POST", e.url()+"/", body, "Content-Type: application/grpc", "TE: trailers"))
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, "HTTP/2.0", resp.Header.Get("Proto"))
	in := bufio.NewReader(resp.Body)
	line, err := in.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "got one\n", line)
	fmt.Fprint(send, "two\n")
	line, err = in.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "got two\n", line)
	require.NoError(t, send.Close())
	_, err = in.ReadString('\n')
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, "0", resp.Trailer.Get("Grpc-Status"))
}
