package edgebreaker

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// resetting is a server of HTTP/2 that ends each stream with a code.
func resetting(t *testing.T, code http2.ErrCode) string { return resettingWith(t, code, false) }

// resettingWith is one with TLS, maybe.
func resettingWith(t *testing.T, code http2.ErrCode, secure bool) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	if secure {
		keys := httptest.NewUnstartedServer(nil)
		keys.StartTLS()
		defer keys.Close()
		l = tls.NewListener(l, &tls.Config{Certificates: keys.TLS.Certificates, NextProtos: []string{"h2"}})
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
				f := http2.NewFramer(c, c)
				_ = f.WriteSettings()
				for {
					frame, err := f.ReadFrame()
					if err != nil {
						return
					}
					switch frame := frame.(type) {
					case *http2.SettingsFrame:
						if !frame.IsAck() {
							_ = f.WriteSettingsAck()
						}
					case *http2.HeadersFrame:
						_ = f.WriteRSTStream(frame.StreamID, code)
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// TestRequestThatAllRefuse: a request that every backend resets with a code which is
// about the request opens none of them, with retries as without.
func TestRequestThatAllRefuse(t *testing.T) {
	for _, retries := range []string{"", "\nlb_retries 1"} {
		a, b := resetting(t, http2.ErrCodeProtocol), resetting(t, http2.ErrCodeProtocol)
		g := newRig(t)
		g.load(pool("failures 2", "lb_policy edge"+retries, "h2c://"+a, "h2c://"+b))
		for range 8 {
			require.Equal(t, 502, g.get("/").status)
		}
		requireState(t, a, breaker.Closed)
		requireState(t, b, breaker.Closed)
		require.Zero(t, backend(t, a).Active())
		require.Zero(t, backend(t, b).Active())
	}
}

// TestRequestThatOneRefuses: the backend that resets what another one answers has
// failed. So have all when they say so.
func TestRequestThatOneRefuses(t *testing.T) {
	a, b := resetting(t, http2.ErrCodeProtocol), newOrigin(t, "b")
	g := newRig(t)
	g.load(pool("failures 2", "lb_policy edge\nlb_retries 1", "h2c://"+a, "h2c://"+b.address))
	for range 5 {
		require.Equal(t, 200, g.get("/").status)
	}
	requireState(t, a, breaker.Open)
	requireState(t, b.address, breaker.Closed)

	c, d := resetting(t, http2.ErrCodeInternal), resetting(t, http2.ErrCodeInternal)
	g.load(pool("failures 2", "lb_policy edge\nlb_retries 1", "h2c://"+c, "h2c://"+d))
	for range 4 {
		require.Equal(t, http.StatusBadGateway, g.get("/").status)
	}
	requireState(t, c, breaker.Open)
	requireState(t, d, breaker.Open)
}

// TestRequestThatAllRefuseManyTimes: nor does it with more retries than are doubted, or
// when the retries are ended and nobody tells the last error.
func TestRequestThatAllRefuseManyTimes(t *testing.T) {
	get := func(g *rig) reply { return g.get("/") }
	for _, test := range []struct {
		name, options, proxy string
		ask                  func(*rig) reply
	}{
		{"many", "", "lb_retries 9", get},
		{"budget", "retry_budget 0 0", "lb_retries 1", get},
		{"method", "", "lb_retries 1\nlb_retry_match {\nmethod POST\n}", func(g *rig) reply { return g.do(http.MethodPost, "/", nil) }},
		{"backend", "concurrency 1", "lb_retries 1\nlb_retry_match {\nmethod GET\n}", get},
	} {
		for _, secure := range []bool{false, true} {
			t.Run(test.name, func(t *testing.T) {
				var upstreams, addresses []string
				proxy := "lb_policy edge\n" + test.proxy
				for range 2 {
					address := resettingWith(t, http2.ErrCodeProtocol, secure)
					addresses = append(addresses, address)
					if secure {
						upstreams = append(upstreams, "https://"+address)
					} else {
						upstreams = append(upstreams, "h2c://"+address)
					}
				}
				if secure {
					proxy += "\ntransport http {\ntls_insecure_skip_verify\n}"
				}
				g := newRig(t)
				g.load(pool("failures 2\nmax_ejection 100%\n"+test.options, proxy, upstreams...))
				for range 8 {
					require.Equal(t, 502, test.ask(g).status)
				}
				for _, address := range addresses {
					requireState(t, address, breaker.Closed)
					require.Zero(t, backend(t, address).Status(time.Now()).ConsecutiveFailures)
					require.Zero(t, backend(t, address).Active())
				}
			})
		}
	}
}

// TestConnectionsThatBreak: over HTTP/1 a connection that breaks is a failure, also when
// the retries end and nobody tells the error.
func TestConnectionsThatBreak(t *testing.T) {
	a := newOrigin(t, "a")
	a.serve(hijacked(""))
	g := newRig(t)
	g.load(pool("failures 2\nretry_budget 0 0", "lb_policy edge\nlb_retries 1", a.address))
	require.Equal(t, []int{502, 502, 503}, g.codes(3))
	requireState(t, a.address, breaker.Open)
}
