package balance

// go test -run '^$' -bench . ./edgebreaker/balance

import (
	"strconv"
	"testing"
	"time"
)

func BenchmarkPick(b *testing.B) {
	for _, policy := range []Policy{WRR, LeastConn, P2C} {
		for _, n := range []int{4, 64} {
			b.Run(policy.String()+"/"+strconv.Itoa(n), func(b *testing.B) {
				p := New(policy, nil)
				turns := make([]Turn, n)
				pool := make([]Candidate, n)
				for i := range pool {
					pool[i] = Candidate{Weight: 1, Share: 1, Active: i % 3, Latency: time.Millisecond, Turn: &turns[i]}
				}
				b.ReportAllocs()
				for b.Loop() {
					p.Pick(pool)
				}
			})
		}
	}
}
