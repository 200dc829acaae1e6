package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

const (
	probeCap     = 3
	probeClients = 64
	probeService = 5 * time.Millisecond
)

// runHalfOpen has a backend probed by many clients at once, and one by one.
func runHalfOpen(ctx context.Context, b *bench) error {
	rounds := 200
	if b.short {
		rounds = 40
	}
	pool, err := startBackends(2)
	if err != nil {
		return err
	}
	defer pool.close()
	pool.wait(probeService)
	const rules = "\t\topen 1h 1h\n\t\tslow_start off\n"
	s, err := b.startSites(ctx, siteOptions{name: "edge", sites: []string{
		breakerSite(pool[:1], rules+fmt.Sprintf("\t\tprobes %d\n\t\tsuccesses 1000\n", probeCap), "", ""),
		breakerSite(pool[1:], rules+"\t\tprobes 1\n\t\tsuccesses 3\n", "", ""),
	}})
	if err != nil {
		return err
	}
	defer s.close()

	served, refused := 0, 0
	for range rounds {
		if err := s.admin.force(ctx, pool[0].addr, "open", "auto"); err != nil {
			return err
		}
		many := burst{addr: s.addrs[0], clients: probeClients, limit: startLimit, make: func(_ int, r *request) { r.path = "/" }}
		got, err := many.run(ctx)
		if err != nil {
			return err
		}
		for _, r := range got.responses {
			switch r.status {
			case http.StatusOK:
				served++
			case http.StatusServiceUnavailable:
				refused++
			}
		}
	}
	peak := pool[0].peak.Load()
	b.table.add(finding{
		what: "probes at once", measured: fmt.Sprintf("%d at most", peak), target: fmt.Sprintf("<= %d", probeCap),
		reached: peak <= probeCap && served >= rounds && served+refused == rounds*probeClients,
		beside:  fmt.Sprintf("%d clients at a time, %d times: %d served, %d refused", probeClients, rounds, served, refused),
	})

	stuck := 0
	for range rounds {
		if err := s.admin.force(ctx, pool[1].addr, "open", "auto"); err != nil {
			return err
		}
		for range 3 {
			got, err := getOnce(ctx, s.addrs[1], &request{path: "/"}, startLimit)
			if err != nil {
				return err
			}
			if got.status != http.StatusOK {
				stuck++
			}
		}
		if err := s.admin.awaitBreaker(ctx, pool[1].addr, "closed"); err != nil {
			return err
		}
	}
	b.table.add(finding{
		what: "1 probe, 3 successes", measured: fmt.Sprintf("%d of %d refused", stuck, 3*rounds), target: "none: closes after 3", reached: stuck == 0,
		beside: fmt.Sprintf("closed %d times after 3 requests one after the other", rounds),
	})
	return nil
}
