package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"time"
)

const (
	tailService  = 10 * time.Millisecond
	tailSlow     = 10 * tailService
	tailRate     = 150.0 // requests per second to each site
	tailPatience = 10 * time.Second
	mostTail     = 1.0 / 3
)

// The sites of the row.
const (
	siteP2C = iota
	siteLeastConn
	siteRoundRobin
	siteCaddyLeastConn
)

// runTail has one of four backends take ten times as long as the others.
func runTail(ctx context.Context, b *bench) error {
	lasts := 40 * time.Second
	if b.short {
		lasts = 10 * time.Second
	}
	pool, err := startBackends(4)
	if err != nil {
		return err
	}
	defer pool.close()
	pool.wait(tailService)
	pool[0].delay.Store(int64(tailSlow))
	s, err := b.startSites(ctx, siteOptions{name: "edge", sites: []string{
		siteP2C: breakerSite(pool, "", "p2c", ""), siteLeastConn: breakerSite(pool, "", "least_conn", ""),
		siteRoundRobin: plainSite(pool, "\t\tlb_policy round_robin\n"), siteCaddyLeastConn: plainSite(pool, "\t\tlb_policy least_conn\n"),
	}})
	if err != nil {
		return err
	}
	defer s.close()
	latencies, late := make([]sample, len(s.addrs)), sample{}
	slow := make([]float64, len(s.addrs)) // its part of the requests
	//nolint:gosec // load is no secret
	random := rand.New(rand.NewPCG(1, 0))
	for i := range s.addrs {
		// One after the other: all of them would count each other's requests.
		l := openLoad{addrs: s.addrs, patience: tailPatience}
		for at := time.Duration(0); at < lasts; at += duration(random.ExpFloat64() / tailRate) {
			l.arrivals = append(l.arrivals, arrival{at: at, to: i})
		}
		// Judged from when there are latencies to go by.
		settled, from := make(chan []int64, 1), len(l.arrivals)/10
		time.AfterFunc(l.arrivals[from].at, func() { settled <- pool.counts() })
		outcomes, err := l.run(ctx)
		if err != nil {
			return err
		}
		slow[i] = float64(pool.since(<-settled)[0]) / float64(len(outcomes)-from)
		for n := range outcomes {
			if o := &outcomes[n]; o.status != http.StatusOK {
				return fmt.Errorf("status %d: %w", o.status, o.err)
			}
			if n >= from {
				latencies[i] = append(latencies[i], outcomes[n].latency.Seconds())
				late = append(late, outcomes[n].late.Seconds())
			}
		}
	}
	p99 := func(i int) float64 { return latencies[i].quantile(0.99) }
	ratio := p99(siteP2C) / p99(siteRoundRobin)
	b.table.add(finding{
		what: "P99 of p2c", measured: fmt.Sprintf("%.2fx, %s", ratio, seconds(duration(p99(siteP2C)))), target: "<= 0.33x of round_robin", reached: ratio <= mostTail,
		beside: fmt.Sprintf("the slow one got %.1f %%, of round_robin %.1f %%; round_robin %s, Caddy's least_conn %s, ours %s; backends %s and %s, %.0f/s, generator 99 %% at most %s late on %d processors",
			slow[siteP2C]*100, slow[siteRoundRobin]*100, seconds(duration(p99(siteRoundRobin))), seconds(duration(p99(siteCaddyLeastConn))), seconds(duration(p99(siteLeastConn))),
			tailService, tailSlow, tailRate, seconds(duration(late.quantile(0.99))), runtime.NumCPU()),
	})
	return nil
}
