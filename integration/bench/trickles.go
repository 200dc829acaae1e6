package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	mostSlowP99    = 2.0
	mostSlowMemory = 256 << 10
	tricklers      = 200
	trickleSize    = 20 << 20
	trickleRate    = 40_000 // bytes per second
	trickleLength  = 30 * time.Second
	trickleShort   = 12 * time.Second
	trickleRead    = 4_000
	idleLength     = 5 * time.Second
	fastClients    = 16
	fastPause      = 20 * time.Millisecond
)

// crowded is what an edge came to that serves slow clients beside fast ones.
type crowded struct {
	p99, p50   float64 // of the fast ones
	idle       float64 // their P99 without the slow ones
	resident   int64   // growth
	proportion int64
	heap       int64 // growth of what is live, after a collection
	taken      int64 // bytes, by all slow clients together
	sent       int64 // fast requests
	failed     int64 // those of them that were not served
}

// runTunnelSlow has clients read slowly beside others that are in a hurry, through the
// tunnel and directly.
func runTunnelSlow(ctx context.Context, b *bench) error {
	rounds, length := 2, trickleLength
	if b.short {
		rounds, length = 1, trickleShort
	}
	var got [2][]crowded
	for round := range rounds {
		for i := range got {
			if round%2 == 1 {
				i = 1 - i
			}
			c, err := b.crowd(ctx, i, length)
			if err != nil {
				return err
			}
			got[i] = append(got[i], c)
		}
	}
	b.table.addCrowded(got[siteTunnel], got[siteDirect], length)
	return nil
}

// crowd measures one situation, on an edge of its own, so that its memory is that of this
// one alone.
func (b *bench) crowd(ctx context.Context, site int, length time.Duration) (c crowded, err error) {
	small, _ := b.origin.page(reply{fields: plain, size: 1 << 10})
	large, _ := b.origin.page(reply{fields: plain, size: trickleSize})
	t, err := b.newTunnel(ctx)
	if err != nil {
		return c, err
	}
	defer t.close()
	if err := t.start(ctx, b, t.site(appBackend, ""), directSite(b.origin.addr, manyIdle)); err != nil {
		return c, err
	}
	if _, err := t.startAgent(ctx, agentOptions{name: "a1", to: b.origin.addr}); err != nil {
		return c, err
	}
	l := getLoad(small, 0)
	l.addr, l.clients, l.tls, l.length = t.addrs[site], fastClients, t.tls, idleLength
	l.make = func(_ int64, r *request) {
		time.Sleep(fastPause/2 + rand.N(fastPause)) //nolint:gosec // load is no secret
		r.host, r.path = "localhost", small
	}
	idle, err := l.run(ctx) // also for what an edge has once
	if err != nil {
		return c, err
	}
	c.idle = idle.latencies.quantile(0.99)
	heap, err := t.admin.liveHeap(ctx)
	if err != nil {
		return c, err
	}
	before, err := t.memory()
	if err != nil {
		return c, err
	}
	slow, err := t.trickle(ctx, site, large, length+time.Minute)
	if err != nil {
		return c, err
	}
	whole := l.check
	var failed atomic.Int64
	l.length, l.check = length, func(i int64, head *responseHead) error {
		if whole(i, head) != nil {
			failed.Add(1)
		}
		return nil
	}
	fast, err := l.run(ctx)
	c.sent, c.failed = fast.requests, failed.Load()
	if err != nil {
		return c, errors.Join(err, slow.stop())
	}
	after, err := t.memory()
	if err != nil {
		return c, errors.Join(err, slow.stop())
	}
	live, err := t.admin.liveHeap(ctx)
	c.heap = live - heap
	c.taken = slow.taken.Load()
	if err := errors.Join(err, slow.stop()); err != nil {
		return c, err
	}
	c.p99, c.p50 = fast.latencies.quantile(0.99), fast.latencies.quantile(0.5)
	c.resident, c.proportion = after.resident-before.resident, after.proportion-before.proportion
	return c, nil
}

// trickle is clients that read slowly.
type trickle struct {
	conns []*client
	ended atomic.Bool
	taken atomic.Int64
	errs  []error
	wg    sync.WaitGroup
}

// trickle starts them, all with a large page.
func (t *tunnel) trickle(ctx context.Context, site int, path string, limit time.Duration) (*trickle, error) {
	conns, err := dialMany(ctx, t.addrs[site], tricklers, limit)
	if err != nil {
		return nil, err
	}
	s := &trickle{conns: conns, errs: make([]error, len(conns))}
	for i, c := range conns {
		// The kernel must not take much in the client's place.
		err := c.conn.(*net.TCPConn).SetReadBuffer(16 << 10)
		if err == nil {
			err = c.secure(ctx, t.tls)
		}
		if err == nil {
			err = c.send(&request{host: "localhost", path: path})
		}
		if err != nil {
			return nil, errors.Join(err, s.stop())
		}
		s.wg.Go(func() { s.errs[i] = s.read(c) })
	}
	return s, nil
}

// read reads at an even rate, until the clients are stopped.
func (s *trickle) read(c *client) error {
	buf, start := make([]byte, trickleRead), time.Now()
	for n := int64(0); !s.ended.Load() && n < trickleSize; {
		m, err := c.conn.Read(buf)
		n += int64(m)
		s.taken.Add(int64(m))
		if err != nil && !s.ended.Load() {
			return fmt.Errorf("a slow client got %d bytes: %w", n, err)
		}
		time.Sleep(time.Until(start.Add(duration(float64(n) / trickleRate))))
	}
	return nil
}

// stop ends the clients, and returns an error if one of them was cut off before.
func (s *trickle) stop() error {
	s.ended.Store(true)
	closeAll(s.conns)
	s.wg.Wait()
	return errors.Join(s.errs...)
}

// addCrowded judges the rounds of both situations.
func (t *table) addCrowded(tunnel, direct []crowded, length time.Duration) {
	of := func(all []crowded, value func(crowded) float64) (s sample) {
		for _, c := range all {
			s = append(s, value(c))
		}
		return s
	}
	p99 := func(c crowded) float64 { return c.p99 }
	p50 := func(c crowded) float64 { return c.p50 }
	idle := func(c crowded) float64 { return c.idle }
	ratio := of(tunnel, p99).over(of(direct, p99))
	failed, sent := int64(0), int64(0)
	for _, c := range slices.Concat(tunnel, direct) {
		failed, sent = failed+c.failed, sent+c.sent
	}
	t.add(finding{
		what: "fast requests", measured: fmt.Sprintf("%d of %d failed", failed, sent), target: "none", reached: failed == 0 && sent > 0,
		beside: fmt.Sprintf("directly %.0f", of(direct, func(c crowded) float64 { return float64(c.failed) }).max()),
	})
	t.add(finding{
		what: "P99 of fast requests", measured: fmt.Sprintf("%s, %s", ratio.ratio(), of(tunnel, p99).millis()),
		target: fmt.Sprintf("<= %.0fx of direct", mostSlowP99), reached: ratio.median() <= mostSlowP99 && failed == 0,
		beside: fmt.Sprintf("direct beside as many slow clients %s; P50 %s, direct %s; without slow clients P99 %s, direct %s; %d clients at 40 KB/s for %s",
			of(direct, p99).millis(), of(tunnel, p50).millis(), of(direct, p50).millis(), of(tunnel, idle).millis(), of(direct, idle).millis(), tricklers, length),
	})
	each := func(value func(crowded) int64) (sample, sample) {
		per := func(c crowded) float64 { return float64(value(c)) / tricklers / (1 << 10) }
		return of(tunnel, per), of(direct, per)
	}
	rss, rssDirect := each(func(c crowded) int64 { return c.resident })
	pss, _ := each(func(c crowded) int64 { return c.proportion })
	heap, heapDirect := each(func(c crowded) int64 { return c.heap })
	taken, takenDirect := each(func(c crowded) int64 { return c.taken })
	t.add(finding{
		what: "RSS per stream", measured: fmt.Sprintf("%.0f KiB", rss.median()), target: fmt.Sprintf("<= %d KiB", mostSlowMemory>>10),
		reached: rss.median() <= mostSlowMemory>>10,
		beside: fmt.Sprintf("growth of the edge by %d streams, garbage included; direct %.0f KiB; PSS %.0f KiB; the clients took %.0f KiB each, direct %.0f KiB",
			tricklers, rssDirect.median(), pss.median(), taken.median(), takenDirect.median()),
	})
	t.add(finding{
		what: "heap per stream", measured: fmt.Sprintf("%.0f KiB", heap.median()), target: fmt.Sprintf("<= %d KiB", mostSlowMemory>>10),
		reached: heap.median() <= mostSlowMemory>>10, beside: fmt.Sprintf("growth of what is live, after collections that the row asks for; direct %.0f KiB", heapDirect.median()),
	})
}
