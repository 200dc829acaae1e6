package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	hostileService = 20 * time.Millisecond
	hostileAtOnce  = 25
	hostileBody    = "\trequest_body /limited {\n\t\tmax_size 1KB\n\t}\n"
	// hostileTrickle is how long a slow upload takes, at 1 KB/s.
	hostileTrickle = time.Second
	// hostilePatience is how long a hostile client stays at most.
	hostilePatience = 3 * time.Second

	mostHostileLatency = 1.2
)

// hostileKinds are what hostile clients do on a connection of their own. Errors are
// no matter: the edge may well end the connection first.
var hostileKinds = map[string]func(conn net.Conn){
	"leave before the header": func(conn net.Conn) {
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: bench.test\r\n\r\n")
		time.Sleep(hostileService / 4)
	},
	"leave during the body": func(conn net.Conn) {
		_, _ = io.WriteString(conn, "GET /large HTTP/1.1\r\nHost: bench.test\r\n\r\n")
		_, _ = io.ReadFull(conn, make([]byte, 4096))
	},
	"malformed chunks": func(conn net.Conn) {
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\nZZ\r\n")
		_, _ = io.Copy(io.Discard, conn)
	},
	"too large": func(conn net.Conn) {
		_, _ = io.WriteString(conn, "POST /limited HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
		_, _ = fmt.Fprintf(conn, "1000\r\n%s\r\n0\r\n\r\n", bytes.Repeat([]byte{'x'}, 4096))
		_, _ = io.Copy(io.Discard, conn)
	},
	"1 KB/s, then leave": func(conn net.Conn) {
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: bench.test\r\nContent-Length: 100000\r\n\r\n")
		for end := time.Now().Add(hostileTrickle); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			if _, err := conn.Write(bytes.Repeat([]byte{'x'}, 100)); err != nil {
				return
			}
		}
	},
}

// honest is what the honest clients of a site saw.
type honest struct {
	before, during breakerStatus // what the edge thinks of the backend; the slowest
	served, sent   int64         // during
}

// runHostile has clients by the thousands do what makes requests fail, and asks what
// the edge thinks of the backend, and what becomes of the honest ones.
func runHostile(ctx context.Context, b *bench) error {
	each := 2000
	if b.short {
		each = 400
	}
	pool, err := startBackends(2)
	if err != nil {
		return err
	}
	defer pool.close()
	pool.wait(hostileService)
	s, err := b.startSites(ctx, siteOptions{name: "edge", sites: []string{
		hostileBody + breakerSite(pool[:1], "\t\tfailures 2\n\t\tfailure_ratio 0.1 20\n\t\topen 1h 1h\n", "", ""),
		hostileBody + plainSite(pool[1:], "\t\tfail_duration 10s\n\t\tmax_fails 2\n"),
	}})
	if err != nil {
		return err
	}
	defer s.close()
	ours, err := s.meetHostile(ctx, s.addrs[0], pool[0], each)
	if err != nil {
		return err
	}
	state, err := s.admin.breaker(ctx, pool[0].addr)
	if err != nil {
		return err
	}
	kinds, err := s.admin.breakerErrors(ctx, pool[0].addr)
	if err != nil {
		return err
	}
	theirs, err := s.meetHostile(ctx, s.addrs[1], pool[1], each)
	if err != nil {
		return err
	}
	told := kinds["client"]
	delete(kinds, "client")
	b.table.add(finding{
		what: "breaker", measured: fmt.Sprintf("%s, %d failures", state.State, state.Failures), target: "closed, none",
		reached: state.State == "closed" && state.Failures == 0 && len(kinds) == 0 && told > 0,
		beside:  fmt.Sprintf("%d clients each: %s; %d attempts ended by clients", each, strings.Join(slices.Sorted(maps.Keys(hostileKinds)), ", "), told),
	})
	b.table.add(finding{
		what: "honest clients", measured: fmt.Sprintf("%d of %d refused", ours.sent-ours.served, ours.sent), target: "none", reached: ours.served == ours.sent && ours.sent > 0,
		beside: fmt.Sprintf("Caddy with max_fails 2: %d of %d", theirs.sent-theirs.served, theirs.sent),
	})
	b.table.add(finding{
		what: "latency", measured: fmt.Sprintf("P50 %.2fx, %.1f ms", ours.during.P50/ours.before.P50, ours.during.P50),
		target: fmt.Sprintf("<= %.1fx: unchanged", mostHostileLatency), reached: ours.during.P50 <= mostHostileLatency*ours.before.P50 && ours.during.P50 > 0,
		beside: fmt.Sprintf("as the edge has it; before %.1f ms; P99 %.1f ms, before %.1f ms: all share the processors", ours.before.P50, ours.during.P99, ours.before.P99),
	})
	return nil
}

// meetHostile sends honest requests, and then hostile clients beside them.
func (s *sites) meetHostile(ctx context.Context, addr string, of *backend, each int) (h honest, err error) {
	var sent, served atomic.Int64
	l := load{
		addr: addr, clients: 4, length: 3 * time.Second, limit: 5 * time.Minute,
		make: func(_ int64, r *request) { r.path = "/" },
		check: func(_ int64, head *responseHead) error {
			sent.Add(1)
			if head.status == http.StatusOK {
				served.Add(1)
			}
			return nil
		},
	}
	status := func() breakerStatus {
		got, err := s.admin.breaker(ctx, of.addr)
		if err != nil {
			return breakerStatus{} // of the site without a breaker
		}
		return got
	}
	if _, err := l.run(ctx); err != nil {
		return h, err
	}
	h.before = status()
	sent.Store(0)
	served.Store(0)

	running, cancel := context.WithCancel(ctx)
	defer cancel()
	l.length = 5 * time.Minute
	done := make(chan error, 1)
	go func() { _, err := l.run(running); done <- err }()
	var clients sync.WaitGroup
	places := make(chan struct{}, hostileAtOnce)
	for _, name := range slices.Sorted(maps.Keys(hostileKinds)) {
		attack := hostileKinds[name]
		for range each {
			places <- struct{}{}
			clients.Go(func() {
				defer func() { <-places }()
				conn, err := net.DialTimeout("tcp", addr, startLimit)
				if err != nil {
					return
				}
				defer func() { _ = conn.Close() }()
				_ = conn.SetDeadline(time.Now().Add(hostilePatience))
				attack(conn)
			})
		}
		clients.Wait()
		got := status()
		h.during.P50, h.during.P99 = max(h.during.P50, got.P50), max(h.during.P99, got.P99)
	}
	cancel()
	<-done //nolint:errcheck // it was told to end
	h.sent, h.served = sent.Load(), served.Load()
	return h, ctx.Err()
}
