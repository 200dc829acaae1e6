package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	mostDetected = 7 * time.Second
	frozenAsked  = 40 // requests under way when the agent freezes
	// The link that bulk data fills.
	fullRate   = 1e6 // bytes per second in each direction
	fullQueue  = 2 << 20
	fullLength = 20 * time.Second
	fullShort  = 12 * time.Second // longer than an agent that is silent may live
	fullEach   = 8                // downloads, and uploads
)

// runTunnelFrozen stops one of two agents, and fills the link of one that is well.
func runTunnelFrozen(ctx context.Context, b *bench) error {
	rounds := 5
	if b.short {
		rounds = 2
	}
	if err := b.freeze(ctx, rounds); err != nil {
		return err
	}
	return b.fillLink(ctx)
}

// freeze tells how long it takes until an agent that is stopped gets no more requests.
func (b *bench) freeze(ctx context.Context, rounds int) error {
	p, err := b.startPair(ctx, 20*time.Millisecond)
	if err != nil {
		return err
	}
	defer p.close()
	var (
		gone    sample
		slowest time.Duration
		sums    = newTraffic()
	)
	for range rounds {
		stop := p.caller.flowing(ctx, frozenAsked, "/", p.holders[0].ledger, http.MethodGet)
		if !sleepUntil(ctx, time.Now().Add(time.Second)) {
			stop()
			return ctx.Err()
		}
		took, err := p.stopped(ctx, p.agents[0], "a0")
		got := stop()
		if err != nil {
			return err
		}
		gone, slowest = append(gone, took.Seconds()), max(slowest, got.slowest)
		sums.merge(got)
		if _, err := p.awaitAgent(ctx, "a0"); err != nil {
			return err
		}
	}
	b.table.add(finding{
		what: "noticed", measured: fmt.Sprintf("%.2f s (%.2f-%.2f)", gone.median(), gone.min(), gone.max()),
		target: fmt.Sprintf("<= %s", mostDetected), reached: gone.max() <= mostDetected.Seconds(),
		beside: fmt.Sprintf("until GET /edge/tunnel/agents lacks it; %d times SIGSTOP", rounds),
	})
	b.table.add(finding{
		what: "requests meanwhile", measured: fmt.Sprintf("%d failed, slowest %s", sums.failed-sums.cut, seconds(slowest)),
		target: fmt.Sprintf("none, <= %s", mostDetected), reached: sums.failed == sums.cut && slowest <= mostDetected,
		beside: fmt.Sprintf("%d clients; %s; whose response has begun can't be asked for again", frozenAsked, sums),
	})
	return nil
}

// stopped stops an agent until the edge has noticed, and returns how long that took.
func (t *tunnel) stopped(ctx context.Context, p *process, name string) (time.Duration, error) {
	start := time.Now()
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return 0, err
	}
	defer func() { _ = p.signal(syscall.SIGCONT) }()
	for {
		agents, err := t.admin.agents(ctx)
		if err != nil {
			return 0, err
		}
		took := time.Since(start)
		if !agents[name].serves() {
			return took, nil
		}
		if took > startLimit {
			return 0, errors.New("the edge does not notice that an agent is stopped")
		}
		if !sleepUntil(ctx, time.Now().Add(pollPause)) {
			return 0, ctx.Err()
		}
	}
}

// fillLink has bulk data of both directions fill a slow link with a long queue.
func (b *bench) fillLink(ctx context.Context) error {
	length := fullLength
	if b.short {
		length = fullShort
	}
	path, _ := b.origin.page(reply{fields: plain, size: bulkSize})
	sink, received := b.origin.sink()
	t, err := b.newTunnel(ctx)
	if err != nil {
		return err
	}
	defer t.close()
	if err := t.start(ctx, b, t.site(appBackend, "")); err != nil {
		return err
	}
	r, err := startRelay(t.addrs[0], wire{rate: fullRate, queue: fullQueue})
	if err != nil {
		return err
	}
	defer r.close()
	if _, err := t.startAgent(ctx, agentOptions{name: "busy", to: b.origin.addr, edge: r.addr}); err != nil {
		return err
	}
	before, err := t.awaitAgent(ctx, "busy")
	if err != nil {
		return err
	}
	down, err := t.fill(ctx, path, sink, length)
	if err != nil {
		return err
	}
	agents, err := t.admin.agents(ctx)
	if err != nil {
		return err
	}
	after := agents["busy"]
	alive := after.serves() && after.same(before)
	measured := "the session ended"
	if alive {
		measured = "the session lives"
	}
	up := received.Load()
	// What comes is less than the link could carry by its frames, and by what is on the way.
	least := fullRate * length.Seconds() / 2
	b.table.add(finding{
		what: "full link", measured: measured, target: "no false death", reached: alive && float64(min(up, down)) > least,
		beside: fmt.Sprintf("%s of 1 MB/s each way with 2 MiB queued: %.1f MB came down, %.1f MB went up, %d of each; round trip at the end %.0f ms",
			length, float64(down)/1e6, float64(up)/1e6, fullEach, after.RTT),
	})
	return nil
}

// fill downloads and uploads at the same time for a while, and returns how many bytes
// came down.
func (t *tunnel) fill(ctx context.Context, path, sink string, length time.Duration) (int64, error) {
	conns, err := t.connect(ctx, 0, 2*fullEach, length)
	if err != nil {
		return 0, err
	}
	defer closeAll(conns)
	var (
		down atomic.Int64
		wg   sync.WaitGroup
	)
	for _, c := range conns[:fullEach] {
		wg.Go(func() { // until the deadline of the connection
			_, _ = c.get(&request{host: "localhost", path: path}, func(p []byte) { down.Add(int64(len(p))) })
		})
	}
	for _, c := range conns[fullEach:] {
		wg.Go(func() {
			if _, err := fmt.Fprintf(c.conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", sink, int64(bulkSize)); err != nil {
				return
			}
			pieces(bulkSize, func(p []byte) bool { _, err := c.conn.Write(p); return err == nil })
		})
	}
	wg.Wait()
	return down.Load(), ctx.Err()
}
