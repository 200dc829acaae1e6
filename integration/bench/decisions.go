package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	limitPackage = "github.com/caddyedge/caddy-edge/edgelimit/gcra"
	// decisionBenchmarks are the decision and what it is compared with: a map of
	// mutexes with ring buffers.
	decisionBenchmarks = "^Benchmark(ChargeHot|ChargeRandom|RingBufferHot|RingBufferRandom)$"

	mostHotNanos    = 50
	mostRandomRatio = 1.0 / 3
)

// runDecision runs the benchmarks that stand beside the table of the limits.
func runDecision(ctx context.Context, b *bench) error {
	file := filepath.Join(b.dir, "decisions.test")
	if out, err := exec.CommandContext(ctx, "go", "test", "-c", "-o", file, limitPackage).CombinedOutput(); err != nil {
		return fmt.Errorf("building the benchmarks: %w\n%s", err, out)
	}
	rounds, length := 21, 300*time.Millisecond
	if b.short {
		rounds = 5
	}
	timings := make(map[string]*timing)
	for range rounds {
		out, err := exec.CommandContext(ctx, file, "-test.run=^$", "-test.bench="+decisionBenchmarks, //nolint:gosec // from our own build
			"-test.benchmem", "-test.benchtime="+length.String()).Output()
		if err != nil {
			return fmt.Errorf("running the benchmarks: %w", err)
		}
		if err := addTimings(timings, string(out)); err != nil {
			return err
		}
	}
	for _, name := range []string{"ChargeHot", "ChargeRandom", "RingBufferHot", "RingBufferRandom"} {
		if timings[name] == nil {
			return fmt.Errorf("no benchmark %s in %s", name, limitPackage)
		}
	}
	b.table.addDecisions(timings)
	return nil
}

// addDecisions judges what the benchmarks of the table took.
func (t *table) addDecisions(timings map[string]*timing) {
	hot, random := timings["ChargeHot"], timings["ChargeRandom"]
	hotBase, randomBase := timings["RingBufferHot"], timings["RingBufferRandom"]
	t.add(finding{
		what: "one hot key", measured: hot.nanos.nanoseconds(),
		target: fmt.Sprintf("<= %d ns", mostHotNanos), reached: hot.nanos.median() <= mostHotNanos,
		beside: fmt.Sprintf("ring buffer %.1f ns, %.2fx", hotBase.nanos.median(), hot.nanos.over(hotBase.nanos).median()),
	})
	ratio := random.nanos.over(randomBase.nanos)
	t.add(finding{
		what: "1 M random keys", measured: ratio.ratio(),
		target: "<= 0.33x of ring buffer", reached: ratio.median() <= mostRandomRatio,
		beside: fmt.Sprintf("%.0f ns, ring buffer %.0f ns", random.nanos.median(), randomBase.nanos.median()),
	})
	t.add(finding{
		what: "allocations", measured: fmt.Sprintf("%.0f hot, %.0f random", hot.allocs.max(), random.allocs.max()),
		target: "0", reached: hot.allocs.max() == 0 && random.allocs.max() == 0,
		beside: fmt.Sprintf("ring buffer %.0f and %.0f", hotBase.allocs.max(), randomBase.allocs.max()),
	})
}
