package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// hits measures what a hit costs, beside the baseline and the peers.
type hits struct {
	size     int64
	clients  int
	requests int64 // in each round
	rounds   int
	target   float64
	mallocs  float64 // 0: not measured
}

func runHit1K(ctx context.Context, b *bench) error {
	h := hits{size: 1 << 10, clients: 16, requests: 8_000, rounds: 25, target: 1.08, mallocs: 70}
	if b.short {
		h.rounds = 7
	}
	return h.run(ctx, b)
}

func runHit1M(ctx context.Context, b *bench) error {
	h := hits{size: 1 << 20, clients: 4, requests: 800, rounds: 25, target: 0.75}
	if b.short {
		h.rounds = 7
	}
	if err := h.run(ctx, b); err != nil {
		return err
	}
	return runSlowClient(ctx, b)
}

func (h *hits) run(ctx context.Context, b *bench) error {
	r, err := b.startRivals(ctx, edgeOptions{baselines: []int64{h.size}})
	if err != nil {
		return err
	}
	defer r.close()
	path, fetches := b.origin.page(reply{fields: cacheable, size: h.size})
	for _, p := range r.all() {
		if err := warm(ctx, p, path, fetches.Load); err != nil {
			return err
		}
	}
	baseline := proxy{r.edge.process, r.edge.baseline[h.size]}
	if err := sameFields(ctx, baseline.addr, r.edge.cache, path); err != nil {
		return err
	}
	costs, err := h.costs(ctx, append([]proxy{baseline}, r.all()...), path)
	if err != nil {
		return err
	}
	ratio := costs[1].over(costs[0])
	f := finding{
		what:     "CPU per request",
		measured: fmt.Sprintf("%s, %.1f us", ratio.ratio(), costs[1].median()*1e6),
		target:   fmt.Sprintf("<= %.2fx of baseline", h.target),
		reached:  ratio.median() <= h.target,
		beside:   fmt.Sprintf("baseline %.1f us", costs[0].median()*1e6),
	}
	for i, p := range r.peers {
		f.beside += fmt.Sprintf(", %s %.2fx", p.name, costs[2+i].over(costs[0]).median())
	}
	b.table.add(f)
	if h.mallocs > 0 {
		if err := h.countMallocs(ctx, b, r.edge, path); err != nil {
			return err
		}
	}
	return h.profile(ctx, b, r.edge, path)
}

// warm has a page cached and makes sure that it is.
func warm(ctx context.Context, p proxy, path string, fetches func() int64) error {
	for range 3 {
		before := fetches()
		got, err := getOnce(ctx, p.addr, &request{path: path}, startLimit)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if got.status == http.StatusOK && fetches() == before {
			return nil
		}
	}
	return fmt.Errorf("%s does not cache %s", p.name, path)
}

// sameFields makes sure that a baseline and the edge answer with the same fields.
func sameFields(ctx context.Context, baseline, edge, path string) error {
	var names [2][]string
	for i, addr := range []string{baseline, edge} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
		if err != nil {
			return err
		}
		req.Host = defaultHost
		req.Header.Set("Accept-Encoding", "identity")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		names[i] = slices.Sorted(maps.Keys(resp.Header))
	}
	if !slices.Equal(names[0], names[1]) {
		return fmt.Errorf("the baseline has the fields %s, the edge %s", strings.Join(names[0], ", "), strings.Join(names[1], ", "))
	}
	return nil
}

// load returns the load of one round.
func (h *hits) load(addr, path string) *load {
	return &load{
		addr: addr, clients: h.clients, requests: h.requests,
		make: func(_ int64, r *request) { r.path = path },
		check: func(_ int64, head *responseHead) error {
			if head.status != http.StatusOK || head.length != h.size {
				return fmt.Errorf("status %d, length %d", head.status, head.length)
			}
			return nil
		},
	}
}

// costs returns the seconds of processor time per request of each proxy. The
// rounds of all are interleaved, every other one backwards, so that what else
// goes on in the machine meets all of them.
func (h *hits) costs(ctx context.Context, proxies []proxy, path string) ([]sample, error) {
	costs := make([]sample, len(proxies))
	for round := range h.rounds {
		for i := range proxies {
			if round%2 == 1 {
				i = len(proxies) - 1 - i
			}
			cost, err := cpuPerRequest(ctx, proxies[i].process, h.load(proxies[i].addr, path))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", proxies[i].name, err)
			}
			costs[i] = append(costs[i], cost)
		}
	}
	return costs, nil
}

// cpuPerRequest returns the seconds of processor time that a server spends on a
// request of a load.
func cpuPerRequest(ctx context.Context, p *process, l *load) (float64, error) {
	return p.cpuPer(func() (loadResult, error) { return l.run(ctx) })
}

// cpuPer returns the seconds of processor time per request of what run does.
func (p *process) cpuPer(run func() (loadResult, error)) (float64, error) {
	before, err := p.cpuTime()
	if err != nil {
		return 0, err
	}
	done, err := run()
	if err != nil {
		return 0, err
	}
	after, err := p.cpuTime()
	return (after - before).Seconds() / float64(done.requests), err
}

// countMallocs tells the allocations per hit, of a response with eight fields and
// of the one with ten that the baseline writes: a header map that gets a ninth
// field moves, which costs three of them whoever writes it.
func (h *hits) countMallocs(ctx context.Context, b *bench, e *edge, path string) error {
	small, fetches := b.origin.page(reply{fields: plain, size: h.size})
	if err := warm(ctx, proxy{e.process, e.cache}, small, fetches.Load); err != nil {
		return err
	}
	var counts [3]float64
	for i, at := range [...][2]string{{e.cache, small}, {e.cache, path}, {e.baseline[h.size], path}} {
		addr, path := at[0], at[1]
		before, err := e.admin.heap(ctx)
		if err != nil {
			return err
		}
		done, err := h.load(addr, path).run(ctx)
		if err != nil {
			return err
		}
		after, err := e.admin.heap(ctx)
		if err != nil {
			return err
		}
		counts[i] = float64(after.Mallocs-before.Mallocs) / float64(done.requests)
	}
	b.table.add(finding{
		what: "mallocs per request", measured: fmt.Sprintf("%.1f with 8 fields", counts[0]),
		target: fmt.Sprintf("<= %.0f", h.mallocs), reached: counts[0] <= h.mallocs,
		beside: fmt.Sprintf("with 10 fields %.1f, baseline %.1f", counts[1], counts[2]),
	})
	return nil
}

// profileLength is how long each profile takes.
const profileLength = 5 * time.Second

// profile keeps profiles of baseline and cache when they are wanted.
func (h *hits) profile(ctx context.Context, b *bench, e *edge, path string) error {
	if b.profiles == "" {
		return nil
	}
	for name, addr := range map[string]string{"baseline": e.baseline[h.size], "cache": e.cache} {
		l := h.load(addr, path)
		l.requests, l.length = 0, 2*profileLength+time.Second
		done := make(chan error, 1)
		go func() { _, err := l.run(ctx); done <- err }()
		file := filepath.Join(b.profiles, b.table.row+"-"+name)
		err := errors.Join(
			e.admin.profile(ctx, "profile", profileLength, file+".cpu"),
			e.admin.profile(ctx, "allocs", profileLength, file+".allocs"),
		)
		if err := errors.Join(err, <-done); err != nil {
			return err
		}
	}
	return nil
}
