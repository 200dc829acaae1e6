package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// neverOpens are rules of edge_breaker under which no backend opens.
const neverOpens = "\t\tfailures off\n\t\tfailure_ratio 1 1000000\n"

// breakerSite returns the directives of a site with edge_breaker and lb_policy edge:
// lines of the one, arguments of the other, and further lines of the proxy.
func breakerSite(pool backends, rules, policy, proxy string) string {
	return fmt.Sprintf("\tedge_breaker {\n%s\t}\n\treverse_proxy %s {\n\t\tlb_policy edge %s\n%s\t}\n", rules, pool, policy, proxy)
}

// plainSite returns the directives of a site with Caddy's proxy alone.
func plainSite(pool backends, proxy string) string {
	return fmt.Sprintf("\treverse_proxy %s {\n%s\t}\n", pool, proxy)
}

// breakerStatus is a part of GET /edge/breaker/backend.
type breakerStatus struct {
	State     string  `json:"state"`
	Active    int     `json:"active"`
	Failures  int     `json:"consecutive_failures"`
	Successes int     `json:"successes"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
}

// breaker returns what is known of a backend.
func (a *admin) breaker(ctx context.Context, addr string) (s breakerStatus, err error) {
	out, err := a.call(ctx, "/edge/breaker/backend?"+url.Values{"address": {addr}}.Encode(), nil)
	if err == nil {
		err = json.Unmarshal(out, &s)
	}
	return s, err
}

// force gives a backend orders, one after the other.
func (a *admin) force(ctx context.Context, addr string, modes ...string) error {
	for _, mode := range modes {
		if _, err := a.call(ctx, "/edge/breaker/force", map[string]string{"address": addr, "mode": mode}); err != nil {
			return err
		}
	}
	return nil
}

// awaitBreaker polls until a backend is in a state.
func (a *admin) awaitBreaker(ctx context.Context, addr, state string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		s, err := a.breaker(ctx, addr)
		if err != nil {
			return fmt.Errorf("waiting until %s is %s: %w", addr, state, err)
		}
		if s.State == state {
			return nil
		}
		time.Sleep(pollPause / 4)
	}
}

// load replaces the config by a Caddyfile, and reports whether it was accepted.
func (a *admin) load(ctx context.Context, caddyfile string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.base+"/load", strings.NewReader(caddyfile))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "text/caddyfile")
	req.Header.Set("Cache-Control", "must-revalidate") // also an equal one
	resp, err := a.client.Do(req)
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode == http.StatusOK, err
}

// goroutines returns how many the process has.
func (a *admin) goroutines(ctx context.Context) (int, error) {
	out, err := a.call(ctx, "/debug/pprof/goroutine?debug=1", nil)
	if err != nil {
		return 0, err
	}
	line, _, _ := bytes.Cut(out, []byte{'\n'})
	_, total, _ := strings.Cut(string(line), "total ")
	n, err := strconv.Atoi(total)
	if err != nil {
		return 0, fmt.Errorf("parsing a profile of goroutines: %q", line)
	}
	return n, nil
}

// breakerErrors returns the errors of a backend by type, without those that there
// are none of.
func (a *admin) breakerErrors(ctx context.Context, addr string) (map[string]int64, error) {
	out, err := a.call(ctx, "/metrics", nil)
	if err != nil {
		return nil, err
	}
	return parseBreakerErrors(string(out), addr)
}

// parseBreakerErrors reads them from the text format of Prometheus.
func parseBreakerErrors(text, addr string) (map[string]int64, error) {
	prefix, found := fmt.Sprintf(`caddy_edge_breaker_errors_total{backend=%q,type="`, addr), make(map[string]int64)
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, prefix)
		if !ok {
			continue
		}
		kind, value, _ := strings.Cut(strings.TrimSpace(rest), `"} `)
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("parsing a metric: %q", line)
		}
		if n > 0 {
			found[kind] = int64(n)
		}
	}
	return found, nil
}
