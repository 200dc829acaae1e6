package harness

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// adminEndpoint talks to Caddy's admin API.
type adminEndpoint struct {
	addr   string
	client *http.Client
}

func newAdminEndpoint(addr string) adminEndpoint {
	// Each load replaces the admin endpoint too. Nothing that a test asks for does
	// harm when it is done twice.
	replaced := new(atomic.Bool)
	replaced.Store(true)
	// A kept connection would count as a goroutine left over.
	return adminEndpoint{addr: addr, client: &http.Client{
		Timeout:   clientLimit,
		Transport: redialing{&http.Transport{DisableKeepAlives: true}, replaced},
	}}
}

// do sends a request and returns status and body.
func (a adminEndpoint) do(method, path string, header http.Header, body []byte) (int, []byte, error) {
	req, err := http.NewRequest(method, "http://"+a.addr+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("making an admin request: %w", err)
	}
	maps.Copy(req.Header, header)
	resp, err := a.client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("asking the admin endpoint: %w", err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, fmt.Errorf("reading the admin endpoint's answer to %s: %w", path, err)
	}
	return resp.StatusCode, content, nil
}

// get is do for a GET that must succeed.
func (a adminEndpoint) get(path string) ([]byte, error) {
	status, body, err := a.do(http.MethodGet, path, nil, nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("asking the admin endpoint for %s: status %d: %s", path, status, body)
	}
	return body, err
}

// load replaces the running config, also by an equal one.
func (a adminEndpoint) load(caddyfile string) error {
	header := http.Header{"Content-Type": {"text/caddyfile"}, "Cache-Control": {"must-revalidate"}}
	status, body, err := a.do(http.MethodPost, "/load", header, []byte(caddyfile))
	if err != nil {
		return err
	}
	if status == http.StatusOK {
		return nil
	}
	var refusal struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &refusal) != nil || refusal.Error == "" {
		return fmt.Errorf("loading a config: status %d: %s", status, body)
	}
	return errors.New(refusal.Error)
}

// roots returns the certificate of the local authority.
func (a adminEndpoint) roots() (*x509.CertPool, error) {
	body, err := a.get("/pki/ca/local")
	if err != nil {
		return nil, err
	}
	var authority struct {
		Root string `json:"root_certificate"`
	}
	if err := json.Unmarshal(body, &authority); err != nil {
		return nil, fmt.Errorf("decoding the local authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(authority.Root)) {
		return nil, errors.New("the local authority has no usable certificate")
	}
	return pool, nil
}

func (a adminEndpoint) goroutines() (goroutines, error) {
	dump, err := a.get(profilePath)
	if err != nil {
		return nil, err
	}
	return parseGoroutines(string(dump)), nil
}

// leftover polls until the process has no more goroutines than base, and after
// limit describes those that it still has.
func (a adminEndpoint) leftover(base goroutines, limit time.Duration) (string, error) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(limit); ; <-ticker.C {
		now, err := a.goroutines()
		if err != nil {
			return "", err
		}
		if rest := now.excess(base); rest == "" || time.Now().After(deadline) {
			return rest, nil
		}
	}
}

// parseMetrics reads the text format of Prometheus into values by series, where
// a series is written as in the text: name{label="value"}. Lines that are no
// samples are left out.
func parseMetrics(text string) map[string]float64 {
	values := make(map[string]float64)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		// A label value may hold a space, so the value starts at the last one.
		cut := strings.LastIndexByte(line, ' ')
		if cut <= 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if value, err := strconv.ParseFloat(line[cut+1:], 64); err == nil {
			values[line[:cut]] = value
		}
	}
	return values
}
