package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// flight is many clients at one page that the origin takes its time for.
type flight struct {
	page    reply
	clients int
	rounds  int
	// prepare, when not nil, is done before each burst.
	prepare func(ctx context.Context, addr, path string) error
	// fields gives the fields of a client's request; may be nil.
	fields func(i int) string
}

// flightResult is the worst of all rounds, but the median of times.
type flightResult struct {
	fetches int64 // in the burst
	whole   int   // clients that got status and body
	last    sample
}

// burstLimit is the time after which a burst has failed: a cache that queues the
// clients up needs a second for each.
const burstLimit = 2 * time.Minute

// run measures one proxy.
func (f *flight) run(ctx context.Context, b *bench, p proxy) (flightResult, error) {
	result := flightResult{whole: f.clients}
	for range f.rounds {
		path, fetches := b.origin.page(f.page)
		if f.prepare != nil {
			if err := f.prepare(ctx, p.addr, path); err != nil {
				return result, fmt.Errorf("%s: %w", p.name, err)
			}
		}
		before := fetches.Load()
		burst := burst{addr: p.addr, clients: f.clients, limit: burstLimit, make: func(i int, r *request) {
			r.path = path
			if f.fields != nil {
				r.fields = f.fields(i)
			}
		}}
		got, err := burst.run(ctx)
		if err != nil {
			return result, fmt.Errorf("%s: %w", p.name, err)
		}
		result.fetches = max(result.fetches, fetches.Load()-before)
		result.whole = min(result.whole, got.whole(max(f.page.status, http.StatusOK), f.page.size))
		result.last = append(result.last, got.last.Seconds())
	}
	return result, nil
}

// String prints fetches and the time of the last byte.
func (r flightResult) String() string {
	return fmt.Sprintf("%d / %.2f s", r.fetches, r.last.median())
}

// compare measures the edge and its peers, and tells the finding. The target is
// the number of fetches and the time of the last byte.
func (f *flight) compare(ctx context.Context, b *bench, fetches int64, last time.Duration) error {
	if f.rounds = 3; b.short {
		f.rounds = 1
	}
	r, err := b.startRivals(ctx, edgeOptions{})
	if err != nil {
		return err
	}
	defer r.close()
	ours, err := f.run(ctx, b, proxy{r.edge.process, r.edge.cache})
	if err != nil {
		return err
	}
	var beside []string
	for _, p := range r.peers {
		got, err := f.run(ctx, b, p)
		if err != nil {
			return err
		}
		beside = append(beside, p.name+" "+got.String())
	}
	b.table.add(finding{
		what:     "fetches / last byte",
		measured: fmt.Sprintf("%v, %d of %d whole", ours, ours.whole, f.clients),
		target:   fmt.Sprintf("%d / <= %.2f s", fetches, last.Seconds()),
		reached:  ours.fetches == fetches && ours.last.median() <= last.Seconds() && ours.whole == f.clients,
		beside:   strings.Join(beside, ", "),
	})
	return nil
}

func runCollapseCold(ctx context.Context, b *bench) error {
	f := flight{page: reply{fields: cacheable, size: 1 << 10, delay: time.Second}, clients: 500}
	return f.compare(ctx, b, 1, 1150*time.Millisecond)
}

// unshared is a page that only its client may have.
var unshared = reply{
	fields: map[string]string{"Content-Type": "text/html", "Cache-Control": "no-store"},
	size:   1 << 10, delay: time.Second,
}

func runNoStoreCold(ctx context.Context, b *bench) error {
	f := flight{page: unshared, clients: 50}
	return f.compare(ctx, b, 50, 2100*time.Millisecond)
}

func runNoStoreKnown(ctx context.Context, b *bench) error {
	f := flight{page: unshared, clients: 50, prepare: func(ctx context.Context, addr, path string) error {
		_, err := getOnce(ctx, addr, &request{path: path}, burstLimit)
		return err
	}}
	return f.compare(ctx, b, 50, 1150*time.Millisecond)
}

func runVary(ctx context.Context, b *bench) error {
	languages := [...]string{"de", "en", "es", "fr", "it"}
	page := reply{
		fields: map[string]string{"Content-Type": "text/html", "Cache-Control": "max-age=3600", "Vary": "Accept-Language"},
		size:   1 << 10, delay: time.Second,
	}
	f := flight{page: page, clients: 50, fields: func(i int) string {
		return "Accept-Language: " + languages[i%len(languages)] + "\r\n"
	}}
	return f.compare(ctx, b, int64(len(languages)), 2100*time.Millisecond)
}

func runError(ctx context.Context, b *bench) error {
	e, err := b.startEdge(ctx, edgeOptions{})
	if err != nil {
		return err
	}
	defer e.close()
	f := flight{page: reply{
		status: http.StatusInternalServerError, fields: map[string]string{"Content-Type": "text/plain"},
		size: 1000, delay: 200 * time.Millisecond,
	}, clients: 50, rounds: 3}
	got, err := f.run(ctx, b, proxy{e.process, e.cache})
	if err != nil {
		return err
	}
	b.table.add(finding{
		what: "status and body whole", measured: fmt.Sprintf("%d of %d clients", got.whole, f.clients),
		target: "all", reached: got.whole == f.clients, beside: fmt.Sprintf("fetches / last byte %v", got),
	})
	return nil
}
