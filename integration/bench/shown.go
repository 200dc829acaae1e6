package main

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	shownThreshold = 5
	shownClients   = 32
	shownService   = 2 * time.Millisecond
	shownRetries   = "\t\tlb_retries 2\n\t\tlb_retry_match {\n\t\t\texpression {rp.status_code} >= 500\n\t\t}\n"
	shownPassive   = "\t\tlb_policy round_robin\n\t\tfail_duration 1h\n\t\tmax_fails 5\n\t\tunhealthy_status 5xx\n"
)

// shown is what the clients saw of a backend that fails.
type shown struct {
	errors, late int64 // late: in the second half of the requests
	atOnce       int64 // at the failing backend, the greatest number
}

// runErrorsShown counts the errors that clients see when one of three backends
// answers only 500.
func runErrorsShown(ctx context.Context, b *bench) error {
	pool, err := startBackends(3)
	if err != nil {
		return err
	}
	defer pool.close()
	pool.wait(shownService)
	pool[0].status.Store(http.StatusInternalServerError)
	rules := fmt.Sprintf("\t\tfailures %d\n\t\topen 1h 1h\n", shownThreshold)
	s, err := b.startSites(ctx, siteOptions{name: "edge", sites: []string{
		breakerSite(pool, rules, "", ""), breakerSite(pool, rules, "", shownRetries),
		plainSite(pool, shownPassive), plainSite(pool, shownPassive+shownRetries), plainSite(pool, "\t\tlb_policy round_robin\n"),
	}})
	if err != nil {
		return err
	}
	defer s.close()
	var seen [5]shown
	for i := range s.addrs {
		if err := s.admin.force(ctx, pool[0].addr, "closed", "auto"); err != nil {
			return err
		}
		if seen[i], err = countShown(ctx, b, s.addrs[i], pool[0]); err != nil {
			return err
		}
	}
	// Those on their way to the backend, and back, are in flight too: at most one for
	// each client.
	const most = shownThreshold + shownClients
	b.table.add(finding{
		what: "errors shown", measured: fmt.Sprintf("%d, %d in the second half", seen[0].errors, seen[0].late),
		target: fmt.Sprintf("<= %d + %d clients, then none", shownThreshold, shownClients), reached: seen[0].errors <= most && seen[0].late == 0 && seen[0].errors > 0,
		beside: fmt.Sprintf("%d at the backend at once; round_robin with max_fails %d, which holds for an hour, %d; without %d", seen[0].atOnce, shownThreshold, seen[2].errors, seen[4].errors),
	})
	b.table.add(finding{
		what: "with retries", measured: fmt.Sprint(seen[1].errors), target: "none", reached: seen[1].errors == 0,
		beside: fmt.Sprintf("round_robin with max_fails %d and the same retries %d", shownThreshold, seen[3].errors),
	})
	return nil
}

// countShown sends requests to a site and counts the errors.
func countShown(ctx context.Context, b *bench, addr string, failing *backend) (shown, error) {
	var errors, late atomic.Int64
	requests := int64(20_000)
	if b.short {
		requests = 5_000
	}
	failing.peak.Store(0)
	l := load{
		addr: addr, clients: shownClients, requests: requests,
		make: func(_ int64, r *request) { r.path = "/" },
		check: func(i int64, head *responseHead) error {
			if head.status != http.StatusOK {
				errors.Add(1)
				if i >= requests/2 {
					late.Add(1)
				}
			}
			return nil
		},
	}
	_, err := l.run(ctx)
	return shown{errors.Load(), late.Load(), failing.peak.Load()}, err
}
