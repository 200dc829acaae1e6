package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
)

const (
	uniqueBudget = 256 << 20
	uniqueURLs   = 5_000_000
	uniqueShort  = 500_000
	// mostResident is what the process may take beyond its base: the budget, and
	// as much again for the garbage collector.
	mostResident = uniqueBudget * 21 / 10
)

func runUnique(ctx context.Context, b *bench) error {
	e, err := b.startEdge(ctx, edgeOptions{memory: "256MiB"})
	if err != nil {
		return err
	}
	defer e.close()
	folder, _ := b.origin.folder(reply{fields: cacheable, size: 1 << 10})
	if _, err := fill(ctx, e, folder, "warm", 1000); err != nil {
		return err
	}
	base, err := e.memory()
	if err != nil {
		return err
	}
	urls := int64(uniqueURLs)
	if b.short {
		urls = uniqueShort
	}
	l := load{
		addr: e.cache, clients: fillClients, requests: urls, limit: 2 * time.Hour,
		make: func(i int64, r *request) { r.path = folder + strconv.FormatInt(i, 10) },
	}
	done, err := l.run(ctx)
	if err != nil {
		return err
	}
	use, err := e.memory()
	if err != nil {
		return err
	}
	stats, err := e.admin.cacheStats(ctx)
	if err != nil {
		return err
	}
	growth := use.peak - base.resident
	b.table.add(finding{
		what:     "peak RSS over base",
		measured: fmt.Sprintf("%s, %.2fx budget", mebibytes(growth), float64(growth)/uniqueBudget),
		target:   "<= 2.10x budget", reached: growth <= mostResident,
		beside: fmt.Sprintf("%d URLs, base %s, store peak %.3fx", urls, mebibytes(base.resident), float64(stats.Peak)/uniqueBudget),
	})
	b.table.add(stall(done))
	return nil
}

// stall tells the slowest second. A second below a quarter of the median is a
// stall.
func stall(done loadResult) finding {
	var rates sample
	for _, n := range done.perSecond {
		rates = append(rates, float64(n))
	}
	slowest := rates.min()
	return finding{
		what:     "slowest second",
		measured: fmt.Sprintf("%.0f requests", slowest),
		target:   "no stall: >= 1/4 of median", reached: len(rates) > 0 && slowest >= rates.median()/4,
		beside: fmt.Sprintf("median %.0f, second %d of %d, longest request %s", rates.median(),
			slices.Index(rates, slowest), len(rates), seconds(done.longest)),
	}
}
