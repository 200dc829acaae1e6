package harness

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"time"
)

// awaitCertificates returns when each https site completes a handshake: Caddy
// issues certificates after it says that it serves.
func (e *Edge) awaitCertificates() {
	e.t.Helper()
	for name, url := range e.text.used {
		addr, secure := strings.CutPrefix(url, "https://")
		if !secure {
			continue
		}
		if e.roots == nil {
			roots, err := e.admin.roots()
			if err != nil {
				e.t.Fatal(err)
			}
			e.roots = roots
		}
		if err := e.awaitHandshake(addr); err != nil {
			e.t.Fatalf("site %s: %v", name, err)
		}
	}
}

func (e *Edge) awaitHandshake(addr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: e.roots, ServerName: "localhost", MinVersion: tls.VersionTLS12}}
	for {
		conn, err := dialer.DialContext(ctx, "tcp", loopback(addr))
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for a certificate: %w", err)
		}
	}
}
