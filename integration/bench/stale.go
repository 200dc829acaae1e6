package main

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// The page of the row swr: fresh for a second, then usable while it is fetched
// anew, which takes a while.
const (
	staleFresh   = time.Second
	staleRefresh = 300 * time.Millisecond
	staleClients = 200
)

func runStale(ctx context.Context, b *bench) error {
	r, err := b.startRivals(ctx, edgeOptions{})
	if err != nil {
		return err
	}
	defer r.close()
	ours, refreshes, err := staleBurst(ctx, b, proxy{r.edge.process, r.edge.cache})
	if err != nil {
		return err
	}
	var beside []string
	for _, p := range r.peers {
		last, n, err := staleBurst(ctx, b, p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		beside = append(beside, fmt.Sprintf("%s %s, %d", p.name, last.millis(), n))
	}
	b.table.add(finding{
		what: "last byte, refreshes", measured: fmt.Sprintf("%s, %d", ours.millis(), refreshes), target: "< 30 ms, 1",
		reached: ours.median() < 0.030 && refreshes == 1, beside: strings.Join(beside, ", "),
	})
	return nil
}

// staleBurst returns the time of the last byte and the greatest number of
// refreshes.
func staleBurst(ctx context.Context, b *bench, p proxy) (last sample, refreshes int64, err error) {
	rounds := 5
	if b.short {
		rounds = 3
	}
	for range rounds {
		path, fetches := b.origin.page(reply{
			fields: map[string]string{"Content-Type": "text/html", "Cache-Control": "max-age=1, stale-while-revalidate=60"},
			size:   1 << 10, delay: staleRefresh,
		})
		if _, err := getOnce(ctx, p.addr, &request{path: path}, startLimit); err != nil {
			return nil, 0, err
		}
		// Ages are whole seconds in some caches.
		time.Sleep(2*staleFresh + 100*time.Millisecond)
		burst := burst{addr: p.addr, clients: staleClients, limit: burstLimit, make: func(_ int, r *request) { r.path = path }}
		got, err := burst.run(ctx)
		if err != nil {
			return nil, 0, err
		}
		last = append(last, got.last.Seconds())
		refreshes = max(refreshes, settled(fetches)-1)
	}
	return last, refreshes, nil
}

// settled returns a count after the time that fetches under way take to be
// counted.
func settled(fetches *atomic.Int64) int64 {
	time.Sleep(staleRefresh)
	return fetches.Load()
}
