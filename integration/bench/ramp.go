package main

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"
)

const (
	rampClients = 16
	rampService = 2 * time.Millisecond
	// rampMargin is the part of a step at its ends that is not looked at.
	rampMargin    = 0.1
	mostRampError = 0.2
	rampChecks    = "\t\thealth_uri /health\n\t\thealth_interval 100ms\n"
)

var rampSteps = []float64{0.25, 0.5, 0.75, 1}

// runSlowStart measures the share of a recovering backend among four, in each step
// of its slow start.
func runSlowStart(ctx context.Context, b *bench) error {
	each := 5 * time.Second
	if b.short {
		each = 2 * time.Second
	}
	pool, err := startBackends(4)
	if err != nil {
		return err
	}
	defer pool.close()
	pool.wait(rampService)
	rules := fmt.Sprintf("\t\tsuccesses 1\n\t\tslow_start 25%% 50%% 75%% 100%% each %s\n", each)
	s, err := b.startSites(ctx, siteOptions{name: "edge", sites: []string{
		breakerSite(pool, rules, "", rampChecks), plainSite(pool, "\t\tlb_policy round_robin\n"+rampChecks),
	}})
	if err != nil {
		return err
	}
	defer s.close()
	last := pool[len(pool)-1]

	// An operator, or its open time, has it probed: it closes, and the steps begin.
	opened, err := b.measureRamp(ctx, s.addrs[0], pool, each, len(rampSteps), func() error {
		if err := s.admin.force(ctx, last.addr, "open", "auto"); err != nil {
			return err
		}
		return s.admin.awaitBreaker(ctx, last.addr, "closed")
	})
	if err != nil {
		return err
	}
	recovers := func() error {
		last.sick.Store(true)
		if err := awaitRequests(ctx, last, false); err != nil {
			return err
		}
		last.sick.Store(false)
		return awaitRequests(ctx, last, true)
	}
	checked, err := b.measureRamp(ctx, s.addrs[0], pool, each, len(rampSteps), recovers)
	if err != nil {
		return err
	}
	plain, err := b.measureRamp(ctx, s.addrs[1], pool, each, 1, recovers)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		what   string
		shares []float64
	}{{"after open", opened}, {"after a health check", checked}} {
		worst := rampError(f.shares)
		b.table.add(finding{
			what: f.what, measured: percents(f.shares), target: fmt.Sprintf("within %.0f %% of 25 50 75 100", mostRampError*100), reached: worst <= mostRampError,
			beside: fmt.Sprintf("worst off by %.1f %%; round_robin after a health check %s at once", worst*100, percents(plain)),
		})
	}
	return nil
}

// rampError returns by how much the worst step is off, as a part of it.
func rampError(shares []float64) (worst float64) {
	for i, share := range shares {
		worst = max(worst, math.Abs(share/rampSteps[i]-1))
	}
	return worst
}

func percents(shares []float64) string {
	words := make([]string, len(shares))
	for i, share := range shares {
		words[i] = fmt.Sprintf("%.1f", share*100)
	}
	return strings.Join(words, " ") + " %"
}

// measureRamp loads a site, has the last backend recover, and returns what it gets
// in each step, as a part of what the others get on average.
func (b *bench) measureRamp(ctx context.Context, addr string, pool backends, each time.Duration, steps int, recovers func() error) ([]float64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	l := load{
		addr: addr, clients: rampClients, length: time.Hour, limit: 2 * time.Minute,
		make: func(_ int64, r *request) { r.path = "/" },
		check: func(_ int64, head *responseHead) error {
			if head.status != http.StatusOK {
				return fmt.Errorf("status %d", head.status)
			}
			return nil
		},
	}
	go func() { _, err := l.run(ctx); done <- err }()
	if err := recovers(); err != nil {
		return nil, err
	}
	start := time.Now()
	at := func(step float64) { sleepUntil(ctx, start.Add(time.Duration(step*float64(each)))) }
	var shares []float64
	for i := range steps {
		at(float64(i) + rampMargin)
		before := pool.counts()
		at(float64(i+1) - rampMargin)
		n := pool.since(before)
		var others int64
		for _, other := range n[:len(n)-1] {
			others += other
		}
		if others == 0 {
			return nil, fmt.Errorf("there were no requests in step %d", i+1)
		}
		shares = append(shares, float64(n[len(n)-1])*float64(len(n)-1)/float64(others))
	}
	select {
	case err := <-done: // it should go on until it is told to end
		return nil, fmt.Errorf("the load ended: %w", err)
	default:
	}
	cancel()
	<-done //nolint:errcheck // it was told to end
	return shares, nil
}

// awaitRequests waits until a backend gets requests, or none for some time.
func awaitRequests(ctx context.Context, b *backend, some bool) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		before := b.requests.Load()
		wait := 200 * time.Millisecond
		if some {
			wait = time.Millisecond
		}
		if !sleepUntil(ctx, time.Now().Add(wait)) {
			return fmt.Errorf("waiting for requests at %s: %w", b.addr, ctx.Err())
		}
		if (b.requests.Load() > before) == some {
			return nil
		}
	}
}
