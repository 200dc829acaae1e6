package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAddTimings(t *testing.T) {
	timings := make(map[string]*timing)
	const out = `goos: linux
pkg: example.com/p
BenchmarkA-2          	 4675041	        91.20 ns/op	        50.20 cpu-ns/op	       0 B/op	       0 allocs/op
BenchmarkB/two-words-16	  265906	      2178 ns/op	     1178 cpu-ns/op	     3.5 things/op	      15 B/op	       1 allocs/op
BenchmarkA-2          	 4675041	        48 ns/op	        48 cpu-ns/op	       0 B/op	       2 allocs/op
BenchmarkC            	       1	         9 ns/op	        7 cpu-ns/op	       0 B/op	       0 allocs/op
BenchmarkD
PASS
`
	require.NoError(t, addTimings(timings, out))
	require.Equal(t, map[string]*timing{
		"A":           {nanos: sample{50.2, 48}, allocs: sample{0, 2}},
		"B/two-words": {nanos: sample{1178}, allocs: sample{1}},
		"C":           {nanos: sample{7}, allocs: sample{0}},
	}, timings)

	for _, bad := range []string{
		"BenchmarkA-2 10 5 cpu-ns/op",
		"BenchmarkA-2 10 5 ns/op 0 B/op 0 allocs/op",
		"BenchmarkA-2 10 x cpu-ns/op 0 B/op 0 allocs/op",
		"BenchmarkA-2 10 5 B/op 0 allocs/op",
		"BenchmarkA-2 10",
	} {
		require.Error(t, addTimings(timings, bad), bad)
	}
}

// FuzzAddTimings: every result has both values, and none is taken from nothing.
func FuzzAddTimings(f *testing.F) {
	f.Add("BenchmarkA-2 10 6 ns/op 5 cpu-ns/op 0 B/op 0 allocs/op\n")
	f.Add("BenchmarkA 10 5 ns/op\nok\n")
	f.Fuzz(func(t *testing.T, out string) {
		timings := make(map[string]*timing)
		if addTimings(timings, out) != nil {
			return
		}
		for name, got := range timings {
			require.NotEmpty(t, got.nanos)
			require.Len(t, got.allocs, len(got.nanos))
			require.Contains(t, out, "Benchmark"+name)
		}
	})
}

func TestDecisionsAreJudged(t *testing.T) {
	lines := func(hot, random, allocs float64) []string {
		return tableLines(func(tab *table) {
			tab.addDecisions(map[string]*timing{
				"ChargeHot": {sample{hot}, sample{allocs}}, "ChargeRandom": {sample{random}, sample{0}},
				"RingBufferHot": {sample{100}, sample{1}}, "RingBufferRandom": {sample{900}, sample{1}},
			})
		})
	}
	good := lines(50, 300, 0)
	require.Len(t, good, 3)
	for _, line := range good {
		require.Contains(t, line, " ok ")
	}
	for _, line := range lines(51, 310, 1) {
		require.Contains(t, line, " MISS ")
	}
}
