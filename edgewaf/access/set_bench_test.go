// Lookups in big sets, with addresses in no order, most of which are not in it:
//
//	go test -run '^$' -bench Set ./edgewaf/access
package access

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
)

func randomV4(r *rand.Rand) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, r.Uint32())))
}

// randomV6 returns an address of the part of IPv6 that is in use.
func randomV6(r *rand.Rand) netip.Addr {
	b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, r.Uint64()), r.Uint64())
	b[0] = b[0]&0x1f | 0x20
	return netip.AddrFrom16([16]byte(b))
}

func BenchmarkSet(b *testing.B) {
	const entries = 1_000_000
	for _, bench := range []struct {
		name   string
		random func(*rand.Rand) netip.Addr
		bits   int
	}{{"v4-addresses", randomV4, 32}, {"v4-networks", randomV4, 24}, {"v6-addresses", randomV6, 128}, {"v6-networks", randomV6, 48}} {
		b.Run(bench.name, func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 2))
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			var builder Builder
			for range entries {
				builder.Add(netip.PrefixFrom(bench.random(r), bench.bits))
			}
			s := builder.Set()
			builder = Builder{}
			runtime.GC()
			runtime.ReadMemStats(&after)
			addresses := make([]netip.Addr, 1<<16)
			for i := range addresses {
				addresses[i] = bench.random(r)
			}
			b.ReportAllocs()
			hits, i := 0, 0
			for b.Loop() {
				if s.Contains(addresses[i&(len(addresses)-1)]) {
					hits++
				}
				i++
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/entries, "B/entry")
			runtime.KeepAlive(s)
		})
	}
}

// BenchmarkParseList reads a list of a million single addresses.
func BenchmarkParseList(b *testing.B) {
	const entries = 1_000_000
	r := rand.New(rand.NewPCG(1, 2))
	var text []byte
	for range entries {
		text = append(randomV4(r).AppendTo(text), '\n')
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseList(text); err != nil {
			b.Fatal(err)
		}
	}
}
