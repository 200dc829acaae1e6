package main

import (
	"fmt"
	"strconv"
	"strings"
)

// timing is what a Go benchmark measured, a value for each run.
type timing struct {
	nanos  sample // of processor time per operation
	allocs sample
}

// addTimings adds the results in the output of Go benchmarks that tell their
// processor time and were run with -benchmem, by names without "Benchmark" and the number of processors.
func addTimings(timings map[string]*timing, out string) error {
	for line := range strings.Lines(out) {
		words := strings.Fields(line)
		if len(words) < 2 || !strings.HasPrefix(words[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(words[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i >= 0 {
			name = name[:i]
		}
		nanos, err := measurement(words, "cpu-ns/op")
		if err != nil {
			return err
		}
		allocs, err := measurement(words, "allocs/op")
		if err != nil {
			return err
		}
		t := timings[name]
		if t == nil {
			t = new(timing)
			timings[name] = t
		}
		t.nanos, t.allocs = append(t.nanos, nanos), append(t.allocs, allocs)
	}
	return nil
}

// measurement returns the value in front of a unit.
func measurement(words []string, unit string) (float64, error) {
	for i := 3; i < len(words); i += 2 {
		if words[i] != unit {
			continue
		}
		v, err := strconv.ParseFloat(words[i-1], 64)
		if err != nil {
			return 0, fmt.Errorf("parsing the result of a benchmark: %w", err)
		}
		return v, nil
	}
	return 0, fmt.Errorf("parsing the result of a benchmark: no %s in %q", unit, words)
}
