package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// admin is a client of a Caddy's admin endpoint.
type admin struct {
	base   string
	client *http.Client
}

func newAdmin(addr string) *admin {
	return &admin{base: "http://" + addr, client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
}

// addr returns host and port.
func (a *admin) addr() string { return strings.TrimPrefix(a.base, "http://") }

// close ends idle connections.
func (a *admin) close() { a.client.CloseIdleConnections() }

// call sends a request and returns the body of a reply with status 200. A nil
// body makes it a GET request.
func (a *admin) call(ctx context.Context, path string, body any) ([]byte, error) {
	method, in := http.MethodGet, io.Reader(nil)
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		method, in = http.MethodPost, bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, in)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	out, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, out)
	}
	return out, err
}

// heap is the part of runtime.MemStats that the benchmarks use.
type heap struct {
	Mallocs   int64
	HeapAlloc int64
}

// heap returns the memory statistics of the process.
func (a *admin) heap(ctx context.Context) (heap, error) {
	var vars struct {
		Stats heap `json:"memstats"`
	}
	out, err := a.call(ctx, "/debug/vars", nil)
	if err == nil {
		err = json.Unmarshal(out, &vars)
	}
	return vars.Stats, err
}

// liveHeap collects garbage, twice because of finalizers and pools, and returns
// what is left.
func (a *admin) liveHeap(ctx context.Context) (int64, error) {
	for range 2 {
		if _, err := a.call(ctx, "/debug/pprof/heap?gc=1", nil); err != nil {
			return 0, err
		}
	}
	h, err := a.heap(ctx)
	return h.HeapAlloc, err
}

// profile keeps a profile of the next seconds in a file: "profile" is that of
// processor time, "allocs" that of allocations.
func (a *admin) profile(ctx context.Context, kind string, length time.Duration, file string) error {
	query := url.Values{"seconds": {fmt.Sprint(int(length / time.Second))}}
	out, err := a.call(ctx, "/debug/pprof/"+kind+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	return os.WriteFile(file, out, 0o600)
}

// cacheStats is a part of GET /edge/cache/stats.
type cacheStats struct {
	Entries     int64  `json:"entries"`
	Bytes       int64  `json:"bytes"`
	Peak        int64  `json:"peak"`
	Budget      int64  `json:"budget"`
	Evictions   uint64 `json:"evictions"`
	Outstanding int    `json:"purges_outstanding"`
}

// cacheStats returns the counters of the store.
func (a *admin) cacheStats(ctx context.Context) (s cacheStats, err error) {
	out, err := a.call(ctx, "/edge/cache/stats", nil)
	if err == nil {
		err = json.Unmarshal(out, &s)
	}
	return s, err
}

// purge purges, and returns how long that took.
func (a *admin) purge(ctx context.Context, what map[string]any) (time.Duration, error) {
	start := time.Now()
	_, err := a.call(ctx, "/edge/cache/purge", what)
	return time.Since(start), err
}
