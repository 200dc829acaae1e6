package topk

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// A refusal adds one key to its zone's sketch.
//
//	go test ./edgelimit/topk -run '^$' -bench . -cpu 1,2
func BenchmarkAdd(b *testing.B) {
	for _, bb := range []struct {
		name string
		keys uint64
	}{{"one-key", 1}, {"128-keys", 128}, {"1M-keys", 1 << 20}} {
		b.Run(bb.name, func(b *testing.B) {
			s := New(128)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				random := rand.New(rand.NewPCG(rand.Uint64(), 0))
				key := make([]byte, 24)
				for pb.Next() {
					binary.BigEndian.PutUint64(key, random.Uint64N(bb.keys))
					s.Add(key)
				}
			})
		})
	}
}
