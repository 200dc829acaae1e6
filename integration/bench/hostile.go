package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
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
	hostileCalm     = 3 * time.Second // before they come
	hostileLimit    = 5 * time.Minute // for one kind of them

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

// The sites of the row.
const (
	siteHostile  = iota // with a breaker
	siteControl         // with nothing that judges its backend
	siteMaxFails        // with Caddy's passive checks
)

// honest is what the honest clients of a site saw.
type honest struct {
	addr         string
	calm, beside sample       // latencies: before there were hostile clients; beside the kind that slowed most
	served, sent atomic.Int64 // beside hostile clients
}

// slowdown is how much longer requests took beside hostile clients.
func (h *honest) slowdown() float64 { return h.beside.median() / h.calm.median() }

// runHostile has clients by the thousands do what makes requests fail, and asks what
// the edge thinks of the backend, and what becomes of the honest ones. Since all share
// the processors, those get slower by the mere load: how much shows at a site that has
// no breaker and meets the same, in turns.
func runHostile(ctx context.Context, b *bench) error {
	each := 2000
	if b.short {
		each = 400
	}
	pool, err := startBackends(3)
	if err != nil {
		return err
	}
	defer pool.close()
	pool.wait(hostileService)
	s, err := b.startSites(ctx, siteOptions{name: "edge", sites: []string{
		siteHostile:  hostileBody + breakerSite(pool[siteHostile:siteControl], "\t\tfailures 2\n\t\tfailure_ratio 0.1 20\n\t\topen 1h 1h\n", "", ""),
		siteControl:  hostileBody + plainSite(pool[siteControl:siteMaxFails], "\t\tlb_policy round_robin\n"),
		siteMaxFails: hostileBody + plainSite(pool[siteMaxFails:], "\t\tfail_duration 10s\n\t\tmax_fails 2\n"),
	}})
	if err != nil {
		return err
	}
	defer s.close()
	saw := make([]honest, len(s.addrs))
	for i := range saw {
		saw[i].addr = s.addrs[i]
		if saw[i].calm, err = saw[i].ask(ctx, hostileCalm, nil); err != nil {
			return err
		}
		saw[i].sent.Store(0)
		saw[i].served.Store(0)
	}
	for _, kind := range slices.Sorted(maps.Keys(hostileKinds)) {
		for i := range saw {
			h := &saw[i]
			latencies, err := h.ask(ctx, 0, func() { attack(h.addr, each, hostileKinds[kind]) })
			if err != nil {
				return err
			}
			if len(h.beside) == 0 || latencies.median() > h.beside.median() {
				h.beside = latencies
			}
		}
	}
	state, err := s.admin.breaker(ctx, pool[siteHostile].addr)
	if err != nil {
		return err
	}
	kinds, err := s.admin.breakerErrors(ctx, pool[siteHostile].addr)
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
	ours, control, theirs := &saw[siteHostile], &saw[siteControl], &saw[siteMaxFails]
	b.table.add(finding{
		what: "honest clients", measured: fmt.Sprintf("%d of %d refused", ours.refused(), ours.sent.Load()), target: "none", reached: ours.refused() == 0 && ours.sent.Load() > 0,
		beside: fmt.Sprintf("Caddy with max_fails 2: %d of %d", theirs.refused(), theirs.sent.Load()),
	})
	added := ours.slowdown() / control.slowdown()
	b.table.add(finding{
		what: "latency", measured: fmt.Sprintf("P50 %.2fx by the breaker", added),
		target: fmt.Sprintf("<= %.1fx: unchanged", mostHostileLatency), reached: added > 0 && added <= mostHostileLatency,
		beside: fmt.Sprintf("%s; without a breaker, in turns, %s: all share the processors", ours, control),
	})
	return nil
}

// refused is how many were not served.
func (h *honest) refused() int64 { return h.sent.Load() - h.served.Load() }

// String tells the latencies.
func (h *honest) String() string {
	return fmt.Sprintf("%.2fx with P50 %s, before %s, and P99 %s, before %s", h.slowdown(), seconds(duration(h.beside.median())), seconds(duration(h.calm.median())),
		seconds(duration(h.beside.quantile(0.99))), seconds(duration(h.calm.quantile(0.99))))
}

// ask sends honest requests for a time, or as long as something else lasts, and returns
// their latencies.
func (h *honest) ask(ctx context.Context, length time.Duration, meanwhile func()) (latencies sample, err error) {
	var mu sync.Mutex
	began := make(map[int64]time.Time)
	l := load{
		addr: h.addr, clients: 4, length: cmp.Or(length, hostileLimit), limit: hostileLimit,
		make: func(i int64, r *request) {
			r.path = "/"
			mu.Lock()
			defer mu.Unlock()
			began[i] = time.Now()
		},
		check: func(i int64, head *responseHead) error {
			now := time.Now()
			h.sent.Add(1)
			if head.status == http.StatusOK {
				h.served.Add(1)
			}
			mu.Lock()
			defer mu.Unlock()
			latencies = append(latencies, now.Sub(began[i]).Seconds())
			delete(began, i)
			return nil
		},
	}
	if meanwhile == nil {
		_, err = l.run(ctx)
		return latencies, err
	}
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { _, err := l.run(running); done <- err }()
	meanwhile()
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		return nil, err
	}
	return latencies, ctx.Err()
}

// attack has clients of a kind come, some at a time.
func attack(addr string, clients int, kind func(net.Conn)) {
	var wg sync.WaitGroup
	places := make(chan struct{}, hostileAtOnce)
	for range clients {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			conn, err := net.DialTimeout("tcp", addr, startLimit)
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(hostilePatience))
			kind(conn)
		})
	}
	wg.Wait()
}
