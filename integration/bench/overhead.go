package main

import (
	"context"
	"fmt"
	"net/http"
)

const (
	mostOverhead    = 1.06
	mostMallocs     = 5.0
	mostMoreMallocs = 0.5 // none, but for what others on the process do
)

// The sites of the row, in pairs of Caddy alone and with a breaker.
const (
	sitePlain = iota
	siteBreaker
	sitePlainTwin  // the first once more: what the row takes for a difference
	sitePlainPass  // behind a handler that does nothing: what any handler costs
	sitePlainRetry // told that it may retry
	siteBreakerRetry
	sitePlainTwo // to backends that fail: two attempts
	siteBreakerTwo
	sitePlainThree
	siteBreakerThree
)

// runOverhead compares whole requests with those of Caddy's proxy alone.
func runOverhead(ctx context.Context, b *bench) error {
	pool, err := startBackends(3)
	if err != nil {
		return err
	}
	defer pool.close()
	failing, err := startBackends(3)
	if err != nil {
		return err
	}
	defer failing.close()
	for _, f := range failing {
		f.status.Store(http.StatusInternalServerError)
	}
	const robin = "\t\tlb_policy round_robin\n"
	retries := func(n int) string {
		return fmt.Sprintf("\t\tlb_retries %d\n\t\tlb_retry_match {\n\t\t\texpression {rp.status_code} >= 500\n\t\t}\n", n)
	}
	rules := neverOpens + "\t\tretry_budget 100% 1000000\n"
	s, err := b.startSites(ctx, siteOptions{name: "edge", sites: []string{
		sitePlain:        plainSite(pool, robin),
		siteBreaker:      breakerSite(pool, "", "", ""),
		sitePlainTwin:    plainSite(pool, robin),
		sitePlainPass:    "\tbench_pass\n" + plainSite(pool, robin),
		sitePlainRetry:   plainSite(pool, robin+"\t\tlb_retries 2\n"),
		siteBreakerRetry: breakerSite(pool, "", "", "\t\tlb_retries 2\n"),
		sitePlainTwo:     plainSite(failing, robin+retries(1)),
		siteBreakerTwo:   breakerSite(failing, rules, "", retries(1)),
		sitePlainThree:   plainSite(failing, robin+retries(2)),
		siteBreakerThree: breakerSite(failing, rules, "", retries(2)),
	}})
	if err != nil {
		return err
	}
	defer s.close()
	if err := sameFields(ctx, s.addrs[sitePlain], s.addrs[siteBreaker], "/"); err != nil {
		return err
	}
	rounds, requests := 150, int64(16*sliceRequests)
	if b.short {
		rounds = 40
	}
	loads := make([]*load, len(s.addrs))
	for i, addr := range s.addrs {
		want := http.StatusOK
		if i >= sitePlainTwo {
			want = http.StatusInternalServerError
		}
		loads[i] = &load{
			addr: addr, clients: 16, requests: requests,
			make: func(_ int64, r *request) { r.path = "/" },
			check: func(_ int64, head *responseHead) error {
				if head.status != want {
					return fmt.Errorf("status %d instead of %d", head.status, want)
				}
				return nil
			},
		}
	}
	costs, err := paired(ctx, s.process, loads[:sitePlainTwo], rounds)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		what        string
		plain, edge int
	}{{"CPU", sitePlain, siteBreaker}, {"CPU, may retry", sitePlainRetry, siteBreakerRetry}} {
		edge, plain := costs[f.edge].cpu, costs[f.plain].cpu
		ratio := edge.over(plain)
		b.table.add(finding{
			what: f.what, measured: fmt.Sprintf("%s, %.1f us", ratio.precise(), edge.median()*1e6),
			target: fmt.Sprintf("<= %.2fx of reverse_proxy", mostOverhead), reached: ratio.median() <= mostOverhead,
			beside: fmt.Sprintf("reverse_proxy %.1f us; least of each %.3fx; the first against itself %s, behind a handler that does nothing %s",
				plain.median()*1e6, edge.min()/plain.min(), costs[sitePlainTwin].cpu.over(costs[sitePlain].cpu).precise(),
				costs[sitePlainPass].cpu.over(costs[sitePlain].cpu).precise()),
		})
	}
	mallocs := make([]float64, len(loads))
	for i, l := range loads {
		if mallocs[i], err = mallocsPerRequest(ctx, s.admin, l); err != nil {
			return err
		}
	}
	b.table.addMallocs(mallocs)
	return nil
}

// addMallocs judges allocations per request of the sites of the row overhead.
func (t *table) addMallocs(n []float64) {
	more := n[siteBreaker] - n[sitePlain]
	t.add(finding{
		what: "allocations", measured: fmt.Sprintf("%+.1f per request", more), target: fmt.Sprintf("<= %.0f", mostMallocs), reached: more <= mostMallocs,
		beside: fmt.Sprintf("reverse_proxy %.1f; where it may retry %+.1f", n[sitePlain], n[siteBreakerRetry]-n[sitePlainRetry]),
	})
	theirs := n[sitePlainThree] - n[sitePlainTwo]
	further := n[siteBreakerThree] - n[siteBreakerTwo] - theirs
	t.add(finding{
		what: "further attempt", measured: fmt.Sprintf("%+.1f per attempt", further), target: "none", reached: further <= mostMoreMallocs,
		beside: fmt.Sprintf("reverse_proxy itself %.1f", theirs),
	})
}

// interleaved returns the seconds of processor time per request of each load, in
// rounds of which every other one goes backwards, so that what else goes on in the
// machine meets all of them.
func interleaved(ctx context.Context, p *process, loads []*load, rounds int) ([]sample, error) {
	costs := make([]sample, len(loads))
	for round := range rounds {
		for i := range loads {
			if round%2 == 1 {
				i = len(loads) - 1 - i
			}
			cost, err := cpuPerRequest(ctx, p, loads[i])
			if err != nil {
				return nil, err
			}
			costs[i] = append(costs[i], cost)
		}
	}
	return costs, nil
}

// mallocsPerRequest returns the least of a few measurements: what others in the
// process allocate meanwhile comes on top.
func mallocsPerRequest(ctx context.Context, a *admin, l *load) (float64, error) {
	var counts sample
	for range 5 {
		before, err := a.heap(ctx)
		if err != nil {
			return 0, err
		}
		done, err := l.run(ctx)
		if err != nil {
			return 0, err
		}
		after, err := a.heap(ctx)
		if err != nil {
			return 0, err
		}
		counts = append(counts, float64(after.Mallocs-before.Mallocs)/float64(done.requests))
	}
	return counts.median(), nil
}
