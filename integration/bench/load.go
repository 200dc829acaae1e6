package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// load is a closed loop of clients that send requests one after the other.
type load struct {
	addr    string
	clients int
	// requests ends the load by number, length by time; what comes first. One of
	// them must be there.
	requests int64
	length   time.Duration
	// limit is the time after which the load has failed. Zero: a minute.
	limit time.Duration
	// make fills in the request with a number.
	make func(i int64, r *request)
	// check, when not nil, judges each response head.
	check func(i int64, h *responseHead) error
	// tls, when not nil, has the connections use it.
	tls *tls.Config
	// timed keeps the latency of each request, from when it was made.
	timed bool
}

// loadResult is what a load did.
type loadResult struct {
	requests  int64
	time      time.Duration
	perSecond []int64 // responses in each whole second
	longest   time.Duration
	latencies sample // in seconds, if they are kept
}

// run sends the requests, and returns an error when any of them failed.
func (l *load) run(ctx context.Context) (loadResult, error) {
	limit := l.limit
	if limit == 0 {
		limit = time.Minute
	}
	clients, err := l.connect(ctx, limit)
	if err != nil {
		return loadResult{}, err
	}
	defer closeAll(clients)
	return l.drive(ctx, clients, limit)
}

// connect opens the connections.
func (l *load) connect(ctx context.Context, limit time.Duration) ([]*client, error) {
	clients, err := dialMany(ctx, l.addr, l.clients, limit)
	if err != nil || l.tls == nil {
		return clients, err
	}
	for _, c := range clients {
		if err := c.secure(ctx, l.tls); err != nil {
			closeAll(clients)
			return nil, err
		}
	}
	return clients, nil
}

// drive sends the requests over connections that stay open.
func (l *load) drive(ctx context.Context, clients []*client, limit time.Duration) (loadResult, error) {
	var (
		next, done, longest atomic.Int64
		seconds             = make([]atomic.Int64, int(limit/time.Second)+1)
		errs                = make([]error, len(clients))
		latencies           = make([]sample, len(clients))
		wg                  sync.WaitGroup
		start               = time.Now()
	)
	for n, c := range clients {
		wg.Go(func() {
			var (
				r      request
				before = time.Now()
			)
			for {
				i := next.Add(1) - 1
				if (l.requests > 0 && i >= l.requests) || (l.length > 0 && before.Sub(start) >= l.length) || ctx.Err() != nil {
					return
				}
				l.make(i, &r)
				if l.timed { // not what making it took
					before = time.Now()
				}
				head, err := c.skim(&r)
				if err == nil && l.check != nil {
					err = l.check(i, head)
				}
				if err != nil {
					errs[n] = fmt.Errorf("request %d, %s: %w", i, r.path, err)
					return
				}
				done.Add(1)
				now := time.Now()
				seconds[min(int(now.Sub(start)/time.Second), len(seconds)-1)].Add(1)
				atomicMax(&longest, int64(now.Sub(before)))
				if l.timed {
					latencies[n] = append(latencies[n], now.Sub(before).Seconds())
				}
				before = now
			}
		})
	}
	wg.Wait()
	result := loadResult{requests: done.Load(), time: time.Since(start), longest: time.Duration(longest.Load()), latencies: slices.Concat(latencies...)}
	for i := range min(int(result.time/time.Second), len(seconds)) {
		result.perSecond = append(result.perSecond, seconds[i].Load())
	}
	return result, errors.Join(append(errs, ctx.Err())...)
}

// atomicMax raises a to at least v.
func atomicMax(a *atomic.Int64, v int64) {
	for old := a.Load(); v > old; old = a.Load() {
		if a.CompareAndSwap(old, v) {
			return
		}
	}
}

// dialMany opens n connections.
func dialMany(ctx context.Context, addr string, n int, limit time.Duration) ([]*client, error) {
	deadline := time.Now().Add(limit)
	clients := make([]*client, 0, n)
	for range n {
		c, err := dial(ctx, addr, deadline)
		if err != nil {
			closeAll(clients)
			return nil, err
		}
		clients = append(clients, c)
	}
	return clients, nil
}

func closeAll(clients []*client) {
	for _, c := range clients {
		c.close()
	}
}

// burst is many clients that each send one request at the same moment.
type burst struct {
	addr    string
	clients int
	limit   time.Duration
	make    func(i int, r *request)
}

// burstResult is what the clients of a burst saw.
type burstResult struct {
	responses []response
	last      time.Duration // until the last byte of all
}

// run opens all connections first, then sends.
func (b *burst) run(ctx context.Context) (burstResult, error) {
	clients, err := dialMany(ctx, b.addr, b.clients, b.limit)
	if err != nil {
		return burstResult{}, err
	}
	defer closeAll(clients)
	var (
		result = burstResult{responses: make([]response, b.clients)}
		errs   = make([]error, b.clients)
		gate   = make(chan struct{})
		wg     sync.WaitGroup
	)
	for i, c := range clients {
		wg.Go(func() {
			var r request
			b.make(i, &r)
			<-gate
			result.responses[i], errs[i] = c.get(&r, nil)
		})
	}
	start := time.Now()
	close(gate)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return result, err
	}
	result.last = slices.MaxFunc(result.responses, func(a, b response) int { return a.last.Compare(b.last) }).last.Sub(start)
	return result, nil
}

// whole returns how many responses have a status and the origin's whole body.
func (r *burstResult) whole(status int, size int64) (n int) {
	sum := checksum(size)
	for i := range r.responses {
		if got := &r.responses[i]; got.status == status && got.length == size && got.sum == sum {
			n++
		}
	}
	return n
}
