package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// idHeader tells requests apart.
const idHeader = "Bench-Id"

// holdPath is where a backend holds requests.
const holdPath = "/hold"

// ledger is what backends have executed: each request once, if all goes well.
type ledger struct {
	mu   sync.Mutex
	runs map[string]int
}

// count notes an execution of a request.
func (l *ledger) count(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs[id]++
}

// executed returns how often a request was executed.
func (l *ledger) executed(id string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.runs[id]
}

// holder is a backend that holds requests until it is told to let go.
type holder struct {
	addr   string
	ledger *ledger
	server *http.Server
	held   atomic.Int64  // now
	gate   chan struct{} // closed: lets go
	open   sync.Once
	delay  time.Duration // of requests to other paths
}

// startHolders starts n backends with one ledger.
func startHolders(n int) ([]*holder, error) {
	var all []*holder
	books := &ledger{runs: make(map[string]int)}
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			closeHolders(all)
			return nil, err
		}
		h := &holder{addr: l.Addr().String(), ledger: books, gate: make(chan struct{})}
		h.server = &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
		go func() { _ = h.server.Serve(l) }() // ends with close
		all = append(all, h)
	}
	return all, nil
}

func closeHolders(all []*holder) {
	for _, h := range all {
		_ = h.server.Close()
	}
}

// letGo answers what is held, and holds nothing any more.
func (h *holder) letGo() { h.open.Do(func() { close(h.gate) }) }

// awaitHeld returns when the backends hold that many requests together.
func awaitHeld(ctx context.Context, n int64, all ...*holder) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		held := int64(0)
		for _, h := range all {
			held += h.held.Load()
		}
		if held == n {
			return nil
		}
		if !sleepUntil(ctx, time.Now().Add(pollPause)) {
			return fmt.Errorf("waiting for %d requests at the backends, there are %d: %w", n, held, ctx.Err())
		}
	}
}

// ServeHTTP implements http.Handler.
func (h *holder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	h.ledger.count(r.Header.Get(idHeader))
	if r.URL.Path == holdPath {
		h.held.Add(1)
		defer h.held.Add(-1)
		select {
		case <-h.gate:
		case <-r.Context().Done():
			return
		}
	} else if !pause(r, h.delay) {
		return
	}
	w.Header()["Content-Type"] = plainText
	_, _ = io.WriteString(w, "ok\n")
}
