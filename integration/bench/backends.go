package main

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// backend is one of the servers behind a proxy under test. What it does can be
// changed at any time.
type backend struct {
	addr   string
	server *http.Server

	status atomic.Int64 // of all answers; 0 is 200
	delay  atomic.Int64 // before the header, in nanoseconds
	sick   atomic.Bool  // it fails health checks, at /health

	requests, active, peak atomic.Int64
}

// backends is a pool of them.
type backends []*backend

// startBackends starts n that answer at once.
func startBackends(n int) (p backends, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			p.close()
			return nil, err
		}
		b := &backend{addr: l.Addr().String()}
		b.server = &http.Server{Handler: b, ReadHeaderTimeout: time.Minute}
		go func() { _ = b.server.Serve(l) }() // ends with close
		p = append(p, b)
	}
	return p, nil
}

// close ends them and their connections.
func (p backends) close() {
	for _, b := range p {
		_ = b.server.Close()
	}
}

// String lists the addresses, as reverse_proxy takes them.
func (p backends) String() string {
	addrs := make([]string, len(p))
	for i, b := range p {
		addrs[i] = b.addr
	}
	return strings.Join(addrs, " ")
}

// wait sets the time before the header of all.
func (p backends) wait(d time.Duration) {
	for _, b := range p {
		b.delay.Store(int64(d))
	}
}

// counts returns how many requests each got.
func (p backends) counts() []int64 {
	n := make([]int64, len(p))
	for i, b := range p {
		n[i] = b.requests.Load()
	}
	return n
}

// since returns how many requests each got since an earlier count.
func (p backends) since(before []int64) []int64 {
	n := p.counts()
	for i := range n {
		n[i] -= before[i]
	}
	return n
}

// largeBody is what /large has, more than the buffers on the way.
const largeBody = 8 << 20

// ServeHTTP implements http.Handler.
func (b *backend) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path == "/health" {
		if b.sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return
	}
	b.requests.Add(1)
	atomicMax(&b.peak, b.active.Add(1))
	defer b.active.Add(-1)
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return
	}
	if d := time.Duration(b.delay.Load()); d > 0 && !pause(req, d) {
		return
	}
	h := w.Header()
	h["Content-Type"] = plainText
	if req.URL.Path == "/large" {
		pieces(largeBody, func(p []byte) bool { _, err := w.Write(p); return err == nil })
		return
	}
	w.WriteHeader(max(int(b.status.Load()), http.StatusOK))
	_, _ = io.WriteString(w, "ok\n")
}

var plainText = []string{"text/plain"}
