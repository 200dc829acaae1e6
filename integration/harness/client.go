package harness

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// clientLimit bounds one exchange, so that a hang shows as an error of its own.
const clientLimit = 60 * time.Second

// Proto is the protocol that a client speaks, and none else.
type Proto string

const (
	// H1 is HTTP/1.1, with TLS or without.
	H1 Proto = "h1"
	// H2 is HTTP/2 over TLS.
	H2 Proto = "h2"
	// H2C is HTTP/2 without TLS, with prior knowledge.
	H2C Proto = "h2c"
	// H3 is HTTP/3.
	H3 Proto = "h3"
)

// EachTLS runs a test as one subtest per protocol that a TLS site speaks.
func EachTLS(t *testing.T, f func(t *testing.T, p Proto)) {
	t.Helper()
	for _, p := range []Proto{H1, H2, H3} {
		t.Run(string(p), func(t *testing.T) { f(t, p) })
	}
}

// transport is what both net/http and quic-go offer.
type transport interface {
	http.RoundTripper
	CloseIdleConnections()
}

// newClient returns a client with connections of its own. Whatever the host name
// in a URL, it connects to 127.0.0.1; it neither follows redirects nor asks for
// compression by itself. It asks again as redialing does; loaded tells whether a
// config was loaded since the start.
func newClient(p Proto, roots *x509.CertPool, dialer *net.Dialer, loaded *atomic.Bool) *http.Client {
	return &http.Client{
		Transport:     redialing{newTransport(p, roots, dialer), loaded},
		Timeout:       clientLimit,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func newTransport(p Proto, roots *x509.CertPool, dialer *net.Dialer) transport {
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if p == H3 {
		return &http3.Transport{
			TLSClientConfig:    config,
			DisableCompression: true,
			Dial: func(ctx context.Context, addr string, t *tls.Config, q *quic.Config) (*quic.Conn, error) {
				return quic.DialAddrEarly(ctx, loopback(addr), t, q)
			},
		}
	}
	var protocols http.Protocols
	protocols.SetHTTP1(p == H1)
	protocols.SetHTTP2(p == H2)
	protocols.SetUnencryptedHTTP2(p == H2C)
	return &http.Transport{
		TLSClientConfig:    config,
		DisableCompression: true,
		Protocols:          &protocols,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, loopback(addr))
		},
	}
}

// ClientFrom is Client for HTTP/1.1 from a source address of the test's choice, such
// as 127.0.0.2, so that the edge sees different clients.
func (e *Edge) ClientFrom(source string) *http.Client {
	return e.client(H1, &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}})
}

// loopback keeps the port of an address and replaces its host.
func loopback(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return net.JoinHostPort("127.0.0.1", port)
}
