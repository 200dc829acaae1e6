package edgetunnel

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgetunnel/hub"
	"github.com/caddyedge/caddy-edge/edgetunnel/mux"
	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
)

// dial asks the edge for a session, with header fields that replace the usual ones; an
// empty value takes one out. It returns the response and, if there is one, the session.
func (e *edge) dial(fields ...string) (*http.Response, string, net.Conn, *bufio.Reader) {
	e.t.Helper()
	header := map[string]string{
		"Host": "127.0.0.1", "Connection": "Upgrade", "Upgrade": wire.Protocol, "Authorization": "Bearer home." + secret,
		wire.HeaderVersion: wire.Version.String(), wire.HeaderAgent: "a", wire.HeaderInstance: "i1", wire.HeaderBackends: "app",
	}
	method, body := "GET", ""
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		switch name {
		case "method":
			method = value
		case "body":
			body = value
		default:
			header[name] = value
		}
	}
	conn, err := net.Dial("tcp", "127.0.0.1:"+e.port)
	require.NoError(e.t, err)
	e.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(e.t, conn.SetDeadline(time.Now().Add(patience)))
	fmt.Fprintf(conn, "%s / HTTP/1.1\r\n", method)
	for name, value := range header {
		if value != "" {
			fmt.Fprintf(conn, "%s: %s\r\n", name, value)
		}
	}
	fmt.Fprintf(conn, "\r\n%s", body)
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	require.NoError(e.t, err)
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, "", conn, in
	}
	text, err := io.ReadAll(resp.Body)
	require.NoError(e.t, err)
	return resp, strings.TrimSpace(string(text)), nil, nil
}

// ask is dial for who only wants the response.
func (e *edge) ask(fields ...string) *http.Response {
	e.t.Helper()
	resp, _, _, _ := e.dial(fields...) //nolint:dogsled // see above
	return resp
}

// session is an agent that was written by hand.
func (e *edge) session(config mux.Config, fields ...string) *mux.Session {
	e.t.Helper()
	resp, text, conn, in := e.dial(fields...)
	require.NotNil(e.t, conn, "%d %s", resp.StatusCode, text)
	require.NoError(e.t, conn.SetDeadline(time.Time{}))
	s := mux.New(conn, in, config)
	e.t.Cleanup(func() { _ = s.Close() })
	<-s.Ready()
	return s
}

func TestAdmission(t *testing.T) {
	e := newEdge(t)
	e.tunnel = fmt.Sprintf("token home %s app api\ntoken any %s *\nheartbeat 5s\nmax_agents 2", hashOf(t, secret), hashOf(t, "other"))
	e.load()
	for name, test := range map[string]struct {
		fields []string
		status int
		text   string
	}{
		"wrong secret":     {[]string{"Authorization: Bearer home.wrong"}, 401, "the token is not valid"},
		"unknown token":    {[]string{"Authorization: Bearer none." + secret}, 401, "the token is not valid"},
		"other's secret":   {[]string{"Authorization: Bearer home.other"}, 401, "the token is not valid"},
		"no token":         {[]string{"Authorization: "}, 401, "the token is not valid"},
		"other scheme":     {[]string{"Authorization: Basic home." + secret}, 401, "the token is not valid"},
		"empty secret":     {[]string{"Authorization: Bearer home."}, 401, "the token is not valid"},
		"backend":          {[]string{wire.HeaderBackends + ": app,db"}, 403, "the token does not allow the backend db"},
		"backends twice":   {[]string{wire.HeaderBackends + ": app,app"}, 400, "named twice"},
		"major version":    {[]string{wire.HeaderVersion + ": 2.0.0"}, 426, "speaks version 1.0.0"},
		"no version":       {[]string{wire.HeaderVersion + ": "}, 426, "invalid version"},
		"other protocol":   {[]string{"Upgrade: edge-tunnel/2"}, 426, "speaks version 1.0.0"},
		"agent's name":     {[]string{wire.HeaderAgent + ": A.b"}, 400, "invalid name"},
		"no instance":      {[]string{wire.HeaderInstance + ": "}, 400, "a name is missing"},
		"method":           {[]string{"method: POST", "Content-Length: 0"}, 400, "want a GET"},
		"body":             {[]string{"Content-Length: 4", "body: ping"}, 400, "without a body"},
		"chunks":           {[]string{"Transfer-Encoding: chunked", "body: 0\r\n\r\n"}, 400, "without a body"},
		"lane of nobody":   {[]string{wire.HeaderLane + ": 1"}, 409, "no session that the connection belongs to"},
		"token in a query": {[]string{"Authorization: "}, 401, "the token is not valid"},
	} {
		t.Run(name, func(t *testing.T) {
			e := *e
			e.t = t
			resp, text, conn, _ := e.dial(test.fields...)
			require.Nil(t, conn)
			require.Equal(t, test.status, resp.StatusCode, text)
			require.Contains(t, text, test.text)
			require.NotContains(t, text, secret)
			if test.status == 426 {
				require.Equal(t, wire.Protocol, resp.Header.Get("Upgrade"))
			}
		})
	}
	require.Empty(t, peekHub().All())

	resp := e.ask(wire.HeaderVersion+": 1.9.3", wire.HeaderAgent+": later")
	require.Equal(t, 101, resp.StatusCode)
	require.Equal(t, "1.0.0", resp.Header.Get(wire.HeaderVersion))
	require.Equal(t, "5000", resp.Header.Get(wire.HeaderHeartbeat))
	require.Eventually(t, func() bool { return len(peekHub().All()) == 1 }, patience, time.Millisecond)
	require.Equal(t, "1.0.0", peekHub().All()[0].Version)

	e.session(mux.Config{}, wire.HeaderAgent+": b")
	resp, text, _, _ := e.dial(wire.HeaderAgent + ": c")
	require.Equal(t, 503, resp.StatusCode, text)
	require.Equal(t, "too many agents with that token", text)
	require.Equal(t, "10", resp.Header.Get("Retry-After"))
	// A name belongs to who has it.
	for _, fields := range [][]string{{wire.HeaderInstance + ": i2"}, {"Authorization: Bearer any.other"}, {wire.HeaderLane + ": 1", wire.HeaderInstance + ": i2"}} {
		resp, text, _, _ = e.dial(append(fields, wire.HeaderAgent+": b")...)
		require.Equal(t, 409, resp.StatusCode, text)
	}
	// Other requests pass.
	require.Equal(t, 503, first(e.get("/")))
}

func first[A, B any](a A, _ B) A { return a }

// TestAttempts has somebody guess: they are told so, and in the end briefly, which must
// not keep the right ones out.
func TestAttempts(t *testing.T) {
	e := newEdge(t)
	e.load()
	for range mostFailures {
		resp := e.ask("Authorization: Bearer home.guess")
		require.Equal(t, 401, resp.StatusCode)
		require.Equal(t, "Bearer", resp.Header.Get("Www-Authenticate"))
	}
	resp := e.ask("Authorization: Bearer home.guess")
	require.Equal(t, 429, resp.StatusCode)
	require.Equal(t, "60", resp.Header.Get("Retry-After"))
	e.session(mux.Config{})
}

func TestAttemptsAreBounded(t *testing.T) {
	a := newAttempts()
	now := time.Now()
	for i := range 3 * mostAddresses {
		a.fail(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	require.LessOrEqual(t, len(a.until), mostAddresses)

	a = newAttempts()
	one, other := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	for range mostFailures {
		require.False(t, a.fail(one, now))
	}
	require.True(t, a.fail(other, now), "they are of one network")
	require.False(t, a.fail(netip.MustParseAddr("2001:db8:0:1::1"), now))
	require.False(t, a.fail(one, now.Add(forgiven)))
	require.True(t, a.fail(one, now.Add(forgiven)))
	require.False(t, a.fail(netip.MustParseAddr("::ffff:192.0.2.1"), now))
	require.Contains(t, a.until, netip.MustParsePrefix("192.0.2.1/32"))
}

// TestCertificates tests what a certificate must have.
func TestCertificates(t *testing.T) {
	with := func(c *x509.Certificate) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.TLS = &tls.ConnectionState{}
		if c != nil {
			r.TLS.VerifiedChains = [][]*x509.Certificate{{c}}
		}
		return r
	}
	spiffe, err := url.Parse("spiffe://example.com/agent")
	require.NoError(t, err)
	c := &x509.Certificate{Subject: pkix.Name{CommonName: "cn"}, DNSNames: []string{"agent.example.com"}, URIs: []*url.URL{spiffe}, EmailAddresses: []string{"a@example.com"}}
	certified := func(r *http.Request, of *ClientCertificate, ofToken ...string) bool {
		h := &Handler{ClientCertificate: of}
		return h.certified(hub.Identity{Certificate: certificateOf(r)}, &Token{Certificates: ofToken})
	}
	plain, some := httptest.NewRequest(http.MethodGet, "/", nil), &ClientCertificate{}
	require.True(t, certified(plain, nil))
	require.False(t, certified(plain, some))
	require.False(t, certified(plain, nil, "agent.example.com"))
	require.False(t, certified(with(nil), some))
	require.True(t, certified(with(c), some))
	require.True(t, certified(with(&x509.Certificate{}), some), "it has no names")
	for _, name := range []string{"agent.example.com", "spiffe://example.com/agent", "a@example.com"} {
		require.True(t, certified(with(c), some, "x", name), name)
		require.True(t, certified(with(c), &ClientCertificate{Names: []string{name}}), name)
	}
	require.False(t, certified(with(c), some, "cn"), "the common name is no name")
	require.False(t, certified(with(c), &ClientCertificate{Names: []string{"agent.example.com"}}, "other.example.com"), "both lists must have one")
}

// TestOddAgents are let in, and then do what they must not.
func TestOddAgents(t *testing.T) {
	e := newEdge(t)
	e.load()
	for name, odd := range map[string]func(s *mux.Session){
		"message": func(s *mux.Session) { _ = s.SendControl([]byte("{")) },
		"weight":  func(s *mux.Session) { _ = s.SendControl([]byte(`{"backends":[{"name":"app","weight":0}]}`)) },
		"backends": func(s *mux.Session) {
			_ = s.SendControl([]byte(`{"backends":[` + strings.Repeat(`{"name":"app","weight":1},`, 300) + `{"name":"app","weight":1}]}`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := *e
			e.t = t
			s := e.session(mux.Config{})
			odd(s)
			<-s.Done()
			require.Eventually(t, func() bool { return len(peekHub().All()) == 0 }, patience, time.Millisecond)
		})
	}
	t.Run("stream of its own", func(t *testing.T) {
		e := *e
		e.t = t
		s := e.session(mux.Config{})
		st, err := s.Open([]byte("let me in"))
		require.NoError(t, err)
		_, err = st.Read(make([]byte, 1))
		require.Equal(t, mux.ResetError{Code: mux.CodeRefused}, err)
	})
	t.Run("foreign backend", func(t *testing.T) {
		e := *e
		e.t = t
		s := e.session(mux.Config{}, wire.HeaderAgent+": foreign")
		require.NoError(t, s.SendControl(wire.Message{Backends: []wire.BackendState{{Name: "db", Weight: 1}, {Name: "api", Weight: 1}}}.Encode()))
		require.Eventually(t, func() bool { return len(peekHub().Routes("default", "api")) == 1 }, patience, time.Millisecond)
		require.Empty(t, peekHub().Routes("default", "db"))
	})
	for name, answer := range map[string]string{"no status": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "status alone": "\x01", "nothing": "", "zero": "\x00"} {
		t.Run(name, func(t *testing.T) {
			e := *e
			e.t = t
			s := e.session(mux.Config{Accept: func(st *mux.Stream) {
				go func() {
					_, _ = io.WriteString(st, answer)
					_ = st.CloseWrite()
					_ = st.Close()
				}()
			}})
			require.NoError(t, s.SendControl(wire.Message{Backends: []wire.BackendState{{Name: "app", Weight: 1}}}.Encode()))
			e.serving(1)
			require.Equal(t, 502, first(e.get("/")))
			require.NoError(t, s.Close())
			e.serving(0)
		})
	}
}

// TestStatuses has an agent refuse: another gets the request, whatever its method.
func TestStatuses(t *testing.T) {
	for status := wire.Refused; status.Valid(); status++ {
		t.Run(status.String(), func(t *testing.T) {
			e := newEdge(t)
			e.proxy = "lb_retries 2\nlb_policy round_robin"
			e.load()
			s := e.session(mux.Config{Accept: func(st *mux.Stream) {
				go func() {
					_, _ = st.Write([]byte{byte(status)})
					_ = st.CloseWrite()
					_ = st.Close()
				}()
			}})
			require.NoError(t, s.SendControl(wire.Message{Backends: []wire.BackendState{{Name: "app", Weight: 1}}}.Encode()))
			e.serving(1)
			want := map[wire.Status]int{wire.TimedOut: 504, wire.Draining: 503, wire.Overloaded: 503}[status]
			if want == 0 {
				want = 502
			}
			require.Equal(t, want, first(e.get("/")))
			e.connect("b", http.HandlerFunc(echo))
			e.serving(2)
			for range 2 {
				for _, method := range []string{"GET", "POST", "DELETE"} {
					resp, err := client(t).Do(request(t, method, e.url()+"/", strings.NewReader("body")))
					require.NoError(t, err)
					body, err := io.ReadAll(resp.Body)
					require.NoError(t, err)
					require.NoError(t, resp.Body.Close())
					require.Equal(t, 200, resp.StatusCode, method)
					require.True(t, strings.HasSuffix(string(body), "body"))
				}
			}
		})
	}
}
