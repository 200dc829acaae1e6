package main

import (
	"context"
	"fmt"
	"net/http"
)

// missingCycle is how many requests the weights 1, 1 and 2 take to begin anew, with
// and without the first backend.
const missingCycle = 12

// runWeights counts what backends of the weights 1, 1 and 2 get while the first is
// missing.
func runWeights(ctx context.Context, b *bench) error {
	requests := int64(12_000)
	if b.short {
		requests = 3_000
	}
	pool, err := startBackends(3)
	if err != nil {
		return err
	}
	defer pool.close()
	s, err := b.startSites(ctx, siteOptions{name: "edge", sites: []string{
		breakerSite(pool, "", "{\n\t\t\tweights 1 1 2\n\t\t}", ""),
		plainSite(pool, "\t\tlb_policy weighted_round_robin 1 1 2\n"+rampChecks),
	}})
	if err != nil {
		return err
	}
	defer s.close()
	whole, err := countWeights(ctx, pool, s.addrs[0], missingCycle)
	if err != nil {
		return err
	}
	if err := s.admin.force(ctx, pool[0].addr, "open"); err != nil {
		return err
	}
	ours, err := countWeights(ctx, pool, s.addrs[0], requests)
	if err != nil {
		return err
	}
	pool[0].sick.Store(true)
	for n := int64(1); n > 0; { // until the checks have seen it
		got, err := countWeights(ctx, pool, s.addrs[1], missingCycle)
		if err != nil {
			return err
		}
		n = got[0]
	}
	theirs, err := countWeights(ctx, pool, s.addrs[1], requests)
	if err != nil {
		return err
	}
	shares := func(n []int64) string {
		return fmt.Sprintf("%.4f %.4f", float64(n[1])/float64(requests), float64(n[2])/float64(requests))
	}
	b.table.add(finding{
		what: "1 1 2, first missing", measured: fmt.Sprintf("%s of %d", shares(ours), requests), target: "0.3333 0.6667, exact",
		reached: ours[0] == 0 && ours[1]*3 == requests && ours[2]*3 == requests*2,
		beside:  fmt.Sprintf("weighted_round_robin %s; all there: %d %d %d of %d", shares(theirs), whole[0], whole[1], whole[2], missingCycle),
	})
	return nil
}

// countWeights sends requests and returns what each backend got.
func countWeights(ctx context.Context, pool backends, addr string, requests int64) ([]int64, error) {
	before := pool.counts()
	l := load{
		addr: addr, clients: 4, requests: requests,
		make: func(_ int64, r *request) { r.path = "/" },
		check: func(_ int64, head *responseHead) error {
			if head.status != http.StatusOK {
				return fmt.Errorf("status %d", head.status)
			}
			return nil
		},
	}
	_, err := l.run(ctx)
	return pool.since(before), err
}
