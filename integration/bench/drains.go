package main

import (
	"context"
	"fmt"
	"net/http"
	"syscall"
	"time"
)

const (
	drainClients = 32
	drainHeld    = 8 // requests that the agent has when it is told to end
	drainHolds   = 2 * time.Second
)

// runTunnelDrain ends one of two agents again and again, under load of every method.
func runTunnelDrain(ctx context.Context, b *bench) error {
	rounds := 10
	if b.short {
		rounds = 3
	}
	methods := []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete}
	var (
		sums     = newTraffic()
		finished int
		ends     sample
	)
	for range rounds {
		d := drained{methods: methods}
		if err := d.run(ctx, b); err != nil {
			return err
		}
		sums.merge(d.traffic)
		finished += d.finished
		ends = append(ends, d.took.Seconds())
	}
	held := drainHeld * len(methods) * rounds
	b.table.add(finding{
		what: "under load", measured: fmt.Sprintf("%d failed, %d executed twice", sums.failed, sums.twice), target: "none",
		reached: sums.failed == 0 && sums.twice == 0, beside: fmt.Sprintf("%s; %d clients, %d times SIGTERM; slowest %s", sums, drainClients, rounds, seconds(sums.slowest)),
	})
	b.table.add(finding{
		what: "accepted before", measured: fmt.Sprintf("%d of %d finished", finished, held), target: "all", reached: finished == held,
		beside: fmt.Sprintf("held for %s by both backends; the agent ended after %s", drainHolds, ends.millis()),
	})
	return nil
}

// drained is an agent that ends under load.
type drained struct {
	methods  []string
	traffic  *traffic
	finished int           // of the requests that were held
	took     time.Duration // until the agent ended
}

func (d *drained) run(ctx context.Context, b *bench) error {
	p, err := b.startPair(ctx, 10*time.Millisecond)
	if err != nil {
		return err
	}
	defer p.close()
	books := p.holders[0].ledger
	volley := p.caller.volley(ctx, holdPath, drainHeld, d.methods...)
	if err := awaitHeld(ctx, int64(drainHeld*len(d.methods)), p.holders...); err != nil {
		return err
	}
	stop := p.caller.flowing(ctx, drainClients, "/", books, d.methods...)
	end := func() error {
		if !sleepUntil(ctx, time.Now().Add(time.Second)) {
			return ctx.Err()
		}
		start := time.Now()
		if err := p.agents[0].signal(syscall.SIGTERM); err != nil {
			return err
		}
		time.AfterFunc(drainHolds, p.letGo)
		select {
		case <-p.agents[0].done:
			d.took = time.Since(start)
		case <-time.After(startLimit):
			return fmt.Errorf("the agent has not ended in %s", startLimit)
		}
		sleepUntil(ctx, time.Now().Add(time.Second/2))
		return ctx.Err()
	}
	err = end()
	d.traffic = stop()
	if err != nil {
		return err
	}
	answers := <-volley
	for i := range answers {
		if answers[i].ok() && books.executed(answers[i].id) == 1 {
			d.finished++
		}
	}
	return nil
}
