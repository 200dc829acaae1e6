package edgebreaker

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// mute accepts connections and says nothing.
func mute(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
		}
	}()
	return l.Addr().String()
}

// TestHandshakeHangs: a TLS handshake that does not end is a failure, by the transport's
// own time and by ours, also when the proxy tries again.
func TestHandshakeHangs(t *testing.T) {
	secure := httptest.NewTLSServer(status(200))
	defer secure.Close()
	for _, test := range []struct {
		name, options, transport string
		status                   int
		failure                  failure
	}{
		{"transport", "", "tls_timeout 500ms", 504, failureTLS},
		{"deadline", "header_timeout 500ms", "", 504, failureTimeout},
	} {
		for _, retries := range []bool{false, true} {
			t.Run(test.name, func(t *testing.T) {
				address, others, proxy, want := mute(t), []string(nil), "", []int{test.status, test.status, 503}
				if retries {
					others, proxy, want = []string{secure.URL}, "\nlb_retries 1", []int{200, 200, 200, 200}
				}
				g := newRig(t)
				g.load(pool("failures 2\n"+test.options, "lb_policy edge"+proxy+"\ntransport http {\ntls_insecure_skip_verify\n"+test.transport+"\n}", append(others, "https://"+address)...))
				before := errorsOf(address)[test.failure]
				require.Equal(t, want, g.codes(len(want)))
				requireState(t, address, breaker.Open)
				require.Equal(t, 2, errorsOf(address)[test.failure]-before)
			})
		}
	}
}

// overQUIC is a server of HTTP/3.
func overQUIC(t *testing.T, handle http.Handler) string {
	keys := httptest.NewUnstartedServer(nil)
	keys.StartTLS()
	defer keys.Close()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &http3.Server{Handler: handle, TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: keys.TLS.Certificates})}
	done := make(chan error, 1)
	go func() { done <- s.Serve(c) }()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
		_ = c.Close()
	})
	return c.LocalAddr().String()
}

// TestHTTP3Upstream: over HTTP/3 to the backend outcomes are told like over others.
func TestHTTP3Upstream(t *testing.T) {
	const transport = "\ntransport http {\nversions 3\ntls_insecure_skip_verify\n}"
	abort := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	for _, test := range []struct {
		name, options string
		handle        http.HandlerFunc
		status        int
		failure       failure
	}{
		{"status", "", status(500), 500, failureNone},
		{"reset", "", abort, 502, failureReset},
		{"no header in time", "header_timeout 2s", hang, 504, failureTimeout},
	} {
		t.Run(test.name, func(t *testing.T) {
			var handle atomic.Pointer[http.HandlerFunc]
			first := status(200)
			handle.Store(&first)
			address := overQUIC(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*handle.Load())(w, r) }))
			g := newRig(t)
			g.load(site("failures 2\n"+test.options, "https://"+address, transport))
			require.Equal(t, []int{200, 200}, g.codes(2))
			before := errorsOf(address)
			handle.Store(&test.handle)
			require.Equal(t, []int{test.status, test.status, 503}, g.codes(3))
			requireState(t, address, breaker.Open)
			if test.failure != failureNone {
				require.Equal(t, 2, errorsOf(address)[test.failure]-before[test.failure])
			}
		})
	}
	t.Run("retries", func(t *testing.T) {
		a, b := overQUIC(t, abort), overQUIC(t, status(200))
		g := newRig(t)
		g.load(pool("failures 2", "lb_policy edge\nlb_retries 1"+transport, "https://"+a, "https://"+b))
		require.Equal(t, slices.Repeat([]int{200}, 6), g.codes(6))
		requireState(t, a, breaker.Open)

		c := overQUIC(t, abort)
		g.load(pool("failures 1\nretry_budget 0 0", "lb_policy edge\nlb_retries 1"+transport, "https://"+c))
		require.Equal(t, []int{502, 502}, g.codes(2))
		requireState(t, c, breaker.Closed)
	})
}

// TestSlowRatio: backends that take too long to their header open by slow_ratio.
func TestSlowRatio(t *testing.T) {
	a := newOrigin(t, "a")
	a.serve(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-time.After(60 * time.Millisecond)
		}
	})
	g := newRig(t)
	g.log = g.dir + "/log"
	g.load(site("failures off\nslow_ratio 50% 50ms 4\nwindow 1m", a.address, ""))
	for _, path := range []string{"/", "/slow", "/"} {
		require.Equal(t, 200, g.get(path).status)
	}
	requireState(t, a.address, breaker.Closed)
	require.Equal(t, 200, g.get("/slow").status)
	require.Equal(t, 503, g.get("/").status)
	requireState(t, a.address, breaker.Open)
	require.Equal(t, 1, strings.Count(g.logged(), `"reason":"slow_ratio"`))
}
