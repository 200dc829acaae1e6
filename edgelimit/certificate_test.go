package edgelimit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
)

// TestKeyByClientCertificate: the fingerprint is that of the certificate, whatever
// the connection; who shows none counts for the address.
func TestKeyByClientCertificate(t *testing.T) {
	g, cleanup := newRig(t, `{"zones": [{"name": "certificate", "rate": "2/h", "key": "{http.request.tls.client.fingerprint}"}]}`)
	defer cleanup()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, g.server)
		caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, hostOf(r.RemoteAddr))
		if err := g.ServeHTTP(w, r, caddyhttp.HandlerFunc(g.origin)); err != nil {
			panic(err)
		}
	}))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	defer server.Close()
	// send makes requests over connections of their own.
	send := func(n int, certificates ...tls.Certificate) (codes []int) {
		for range n {
			transport := server.Client().Transport.(*http.Transport).Clone()
			transport.DisableKeepAlives = true
			transport.TLSClientConfig.Certificates = certificates
			resp, err := (&http.Client{Transport: transport}).Get(server.URL)
			require.NoError(t, err)
			_, _ = io.Copy(io.Discard, resp.Body)
			require.NoError(t, resp.Body.Close())
			codes = append(codes, resp.StatusCode)
		}
		return codes
	}
	one, other := selfSigned(t), selfSigned(t)
	require.Equal(t, []int{200, 200, 429}, send(3, one))
	require.Equal(t, []int{200, 200, 429}, send(3))
	require.Equal(t, []int{200, 200, 429}, send(3, other))
	require.Equal(t, []int{429}, send(1, one))
	require.Equal(t, []int{429}, send(1))
}

// selfSigned makes a certificate for a client.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
