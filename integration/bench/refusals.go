package main

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
)

const (
	mostAllowedCost = 1.02
	mostRefusedCost = 1.05
	// mostStrays are the requests in which the limits under test may do the
	// other thing: the refusing one has room for one request each minute.
	mostStrays = 30
)

// The sites of the row, in one process.
const (
	siteAllowed = iota
	siteBare200
	siteTwin200 // the same once more: what the row takes for a difference
	sitePass    // behind a handler that does nothing: what any handler costs
	siteRefused
	siteRefusal // respond, with the fields and the body of a refusal
	siteBare429
)

var limitSites = []string{
	siteAllowed: "\tedge_limit 1000000/s\n\trespond 200\n",
	siteBare200: "\trespond 200\n",
	siteTwin200: "\trespond 200\n",
	sitePass:    "\tbench_pass\n\trespond 200\n",
	siteRefused: "\tedge_limit 1/m\n\trespond 200\n",
	siteRefusal: "\tbench_refusal\n",
	siteBare429: "\trespond 429\n",
}

// runLimitedRequest compares whole requests with those of bare sites.
func runLimitedRequest(ctx context.Context, b *bench) error {
	s, err := b.startSites(ctx, siteOptions{name: "edge", sites: limitSites})
	if err != nil {
		return err
	}
	defer s.close()
	// The first request of the refusing site is the one that it allows.
	if _, err := getOnce(ctx, s.addrs[siteRefused], &request{path: "/"}, startLimit); err != nil {
		return err
	}
	for baseline, limited := range map[int]int{siteBare200: siteAllowed, siteRefusal: siteRefused} {
		if err := sameFields(ctx, s.addrs[baseline], s.addrs[limited], "/"); err != nil {
			return err
		}
	}
	costs, err := costsOfSites(ctx, s, b.short)
	if err != nil {
		return err
	}
	allowed, refused := costs[siteAllowed].over(costs[siteBare200]), costs[siteRefused].over(costs[siteRefusal])
	b.table.add(finding{
		what: "CPU, allowed", measured: fmt.Sprintf("%s, %.1f us", allowed.precise(), costs[siteAllowed].median()*1e6),
		target: fmt.Sprintf("<= %.2fx of respond 200", mostAllowedCost), reached: allowed.median() <= mostAllowedCost,
		beside: fmt.Sprintf("respond 200 %.1f us; against itself %s, behind a handler that does nothing %s",
			costs[siteBare200].median()*1e6, costs[siteTwin200].over(costs[siteBare200]).precise(),
			costs[sitePass].over(costs[siteBare200]).precise()),
	})
	b.table.add(finding{
		what: "CPU, refused", measured: fmt.Sprintf("%s, %.1f us", refused.precise(), costs[siteRefused].median()*1e6),
		target: fmt.Sprintf("<= %.2fx of respond 429*", mostRefusedCost), reached: refused.median() <= mostRefusedCost,
		beside: fmt.Sprintf("* with the same fields and body, %.1f us; of a bare respond 429, %.1f us, it is %s, and the fields and body alone are %s",
			costs[siteRefusal].median()*1e6, costs[siteBare429].median()*1e6, costs[siteRefused].over(costs[siteBare429]).precise(),
			costs[siteRefusal].over(costs[siteBare429]).precise()),
	})
	return nil
}

// costsOfSites returns the seconds of processor time per request of each site.
func costsOfSites(ctx context.Context, s *sites, short bool) ([]sample, error) {
	rounds := 500
	if short {
		rounds = 120
	}
	statuses := []int{siteAllowed: http.StatusOK, siteBare200: http.StatusOK, siteTwin200: http.StatusOK, sitePass: http.StatusOK,
		siteRefused: http.StatusTooManyRequests, siteRefusal: http.StatusTooManyRequests, siteBare429: http.StatusTooManyRequests}
	var strays atomic.Int64
	loads := make([]*load, len(s.addrs))
	for i, addr := range s.addrs {
		loads[i] = &load{
			addr: addr, clients: 16, requests: 8 * sliceRequests,
			make: func(_ int64, r *request) { r.path = "/" },
			check: func(_ int64, head *responseHead) error {
				if head.status != statuses[i] && strays.Add(1) > mostStrays {
					return fmt.Errorf("status %d instead of %d", head.status, statuses[i])
				}
				return nil
			},
		}
	}
	all, err := paired(ctx, s.process, loads, rounds)
	costs := make([]sample, len(all))
	for i := range all {
		costs[i] = all[i].cpu
	}
	return costs, err
}
