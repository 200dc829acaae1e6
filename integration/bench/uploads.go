package main

import (
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go/http3"
)

const (
	uploadSize      = 1 << 30
	uploadSizeShort = 128 << 20
	mostUploadGrown = 64 << 20
)

// runUploads sends content through the firewall in each framing. What the origin gets must
// be what was sent, and the edge must not grow by it.
func runUploads(ctx context.Context, b *bench) error {
	size := int64(uploadSize)
	if b.short {
		size = uploadSizeShort
	}
	path := fmt.Sprintf("/upload%d", b.origin.pages)
	b.origin.pages++
	b.origin.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		sum := crc32.New(castagnoli)
		n, err := io.Copy(sum, r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprintf(w, "%d %d", n, sum.Sum32())
	})
	roots, line, err := b.certificate()
	if err != nil {
		return err
	}
	s, err := b.startSites(ctx, siteOptions{
		name: "edge", tls: line, sites: []string{fmt.Sprintf("\tedge_waf\n\treverse_proxy %s\n", b.origin.addr)},
	})
	if err != nil {
		return err
	}
	defer s.close()
	_, port, _ := net.SplitHostPort(s.addrs[0])
	url := "https://localhost:" + port + path
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	clients := []struct {
		name   string
		client http.RoundTripper
	}{
		{"h1", uploader(config, false)}, {"h2", uploader(config, true)}, {"h3", &http3.Transport{TLSClientConfig: config}},
	}
	for _, c := range clients {
		for _, framing := range []string{"length", "chunked", "gzip"} {
			u := upload{ctx: ctx, edge: s.process, client: c.client, url: url, size: size, framing: framing}
			if framing == "gzip" && c.name != "h1" {
				continue
			}
			for _, u.size = range []int64{1 << 20, size} { // the first for buffers and automata
				if err := u.run(); err != nil {
					return fmt.Errorf("%s, %s: %w", c.name, framing, err)
				}
			}
			b.table.add(finding{
				what: c.name + ", " + framing, measured: fmt.Sprintf("%s, %s more memory", mebibytes(u.sent), mebibytes(u.grown)),
				target: fmt.Sprintf("same, <= %s", mebibytes(mostUploadGrown)), reached: u.same && u.grown <= mostUploadGrown,
				beside: fmt.Sprintf("%.0f MiB/s", float64(u.sent)/(1<<20)/u.took.Seconds()),
			})
		}
	}
	return nil
}

// uploader returns a client of HTTP/1.1 or HTTP/2.
func uploader(config *tls.Config, two bool) http.RoundTripper {
	var protocols http.Protocols
	protocols.SetHTTP1(!two)
	protocols.SetHTTP2(two)
	return &http.Transport{TLSClientConfig: config.Clone(), Protocols: &protocols, DisableCompression: true}
}

// upload is content that is sent.
type upload struct {
	ctx     context.Context
	edge    *process
	client  http.RoundTripper
	url     string
	size    int64
	framing string // length, chunked, or gzip, which is chunked too

	sent, grown int64
	same        bool // as what the origin got
	took        time.Duration
}

// run sends it.
func (u *upload) run() error {
	content := io.LimitReader(&patternReader{}, u.size)
	if u.framing == "gzip" {
		content = compressed(content)
	}
	sum := crc32.New(castagnoli)
	count := new(counter)
	body := io.TeeReader(content, io.MultiWriter(sum, count))
	req, err := http.NewRequestWithContext(u.ctx, http.MethodPost, u.url, io.NopCloser(body))
	if err != nil {
		return err
	}
	req.ContentLength = -1
	if u.framing == "length" {
		req.ContentLength = u.size
	}
	req.Header.Set("Content-Type", "text/plain")
	req.Header.Set("Accept", "*/*")
	if u.framing == "gzip" {
		req.Header.Set("Content-Encoding", "gzip")
	}
	before, err := u.edge.memory()
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	greatest := make(chan int64)
	go func() { greatest <- u.edge.greatest(stop) }()
	start := time.Now()
	got, err := u.answer(req)
	u.took = time.Since(start)
	close(stop)
	u.grown = max(0, <-greatest-before.resident)
	u.sent = count.Load()
	u.same = got == fmt.Sprintf("%d %d", u.sent, sum.Sum32())
	return err
}

// answer returns what the origin says.
func (u *upload) answer(req *http.Request) (string, error) {
	resp, err := u.client.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, text)
	}
	return string(text), err
}

// greatest looks at the resident memory until it is told to stop.
func (p *process) greatest(stop <-chan struct{}) (most int64) {
	tick := time.NewTicker(pollPause)
	defer tick.Stop()
	for {
		if m, err := p.memory(); err == nil {
			most = max(most, m.resident)
		}
		select {
		case <-tick.C:
		case <-stop:
			return most
		}
	}
}

// words is ordinary text whose length has no divisor in common with any buffer's.
var words = func() []byte {
	var text []byte
	for n := 1; len(text) < 1_000_003; n++ {
		text = append(text, "page "+strconv.Itoa(n)+" of the ordinary story continues here\n"...)
	}
	return text[:1_000_003]
}()

// patternReader is such text without an end.
type patternReader struct{ at int }

// Read implements io.Reader.
func (r *patternReader) Read(p []byte) (int, error) {
	n := copy(p, words[r.at:])
	r.at = (r.at + n) % len(words)
	return n, nil
}

// compressed returns content in the coding gzip, hardly smaller, so that it is as long.
func compressed(content io.Reader) io.Reader {
	read, write := io.Pipe()
	go func() {
		w, err := gzip.NewWriterLevel(write, gzip.NoCompression)
		if err == nil {
			_, err = io.Copy(w, content)
		}
		if err == nil {
			err = w.Close()
		}
		write.CloseWithError(err)
	}()
	return read
}

// counter counts bytes.
type counter struct{ atomic.Int64 }

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	c.Add(int64(len(p)))
	return len(p), nil
}

// certificate makes a certificate for localhost. It returns what trusts it, and the line
// of a site that has it.
func (b *bench) certificate() (*x509.CertPool, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, "", err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, "", err
	}
	file := filepath.Join(b.dir, "localhost.pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, "", err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return roots, fmt.Sprintf("tls %s %s", file, file), nil
}
