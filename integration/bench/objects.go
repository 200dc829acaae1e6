package main

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

const (
	fewObjects   = 10_000
	manyObjects  = 100_000
	fillClients  = 16
	mostLive     = 1600 // bytes per object
	mostPSS      = 2500
	settlePause  = time.Second
	settleRounds = 10
)

func runObjects(ctx context.Context, b *bench) error {
	e, err := b.startEdge(ctx, edgeOptions{memory: "512MiB"})
	if err != nil {
		return err
	}
	defer e.close()
	folder, _ := b.origin.folder(reply{fields: cacheable, size: 1 << 10})
	// The first objects also warm connections, pools and the tables of the store.
	few, err := fill(ctx, e, folder, "a", fewObjects)
	if err != nil {
		return err
	}
	before, err := settledMemory(ctx, e)
	if err != nil {
		return err
	}
	many, err := fill(ctx, e, folder, "b", manyObjects)
	if err != nil {
		return err
	}
	atOnce, err := e.memory()
	if err != nil {
		return err
	}
	after, err := settledMemory(ctx, e)
	if err != nil {
		return err
	}
	stats, err := e.admin.cacheStats(ctx)
	if err != nil {
		return err
	}
	if stats.Entries < fewObjects+manyObjects {
		return fmt.Errorf("only %d objects were stored", stats.Entries)
	}
	per := func(growth int64) float64 { return float64(growth) / manyObjects }
	live, pss := per(after.live-before.live), per(after.proportion-before.proportion)
	b.table.add(finding{
		what: "live heap per object", measured: fmt.Sprintf("%.0f B", live),
		target: fmt.Sprintf("<= %d B", mostLive), reached: live <= mostLive,
		beside: fmt.Sprintf("weight %d B", stats.Bytes/stats.Entries),
	})
	b.table.add(finding{
		what: "PSS per object", measured: fmt.Sprintf("%.0f B", pss),
		target: fmt.Sprintf("<= %d B", mostPSS), reached: pss <= mostPSS,
		beside: fmt.Sprintf("%.0f B at once after the fill", per(atOnce.proportion-before.proportion)),
	})
	perObject := many.Seconds() / manyObjects / (few.Seconds() / fewObjects)
	b.table.add(finding{
		what: "time to fill", measured: fmt.Sprintf("%s, %.2fx per object", seconds(many), perObject),
		target: "linear: <= 1.25x", reached: perObject <= 1.25,
		beside: fmt.Sprintf("10,000 objects in %s", seconds(few)),
	})
	return nil
}

// fill requests n new pages below a folder.
func fill(ctx context.Context, e *edge, folder, prefix string, n int64) (time.Duration, error) {
	l := load{
		addr: e.cache, clients: fillClients, requests: n, limit: 10 * time.Minute,
		make: func(i int64, r *request) { r.path = folder + prefix + strconv.FormatInt(i, 10) },
	}
	done, err := l.run(ctx)
	return done.time, err
}

// settledUse is the memory of a server that has nothing to do.
type settledUse struct {
	memory
	live int64 // heap
}

// settledMemory collects garbage and waits until the runtime has returned to the
// system what it does not keep for itself.
func settledMemory(ctx context.Context, e *edge) (s settledUse, err error) {
	if s.live, err = e.admin.liveHeap(ctx); err != nil {
		return s, err
	}
	for range settleRounds {
		before := s.proportion
		if s.memory, err = e.memory(); err != nil {
			return s, err
		}
		if before > 0 && s.proportion > before-before/100 {
			return s, nil
		}
		time.Sleep(settlePause)
	}
	return s, nil
}
