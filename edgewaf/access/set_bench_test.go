// Lookups in sets of a million entries, with addresses in no order: of the whole space, of
// which most are not in the set, and of the set itself. Networks of IPv6 are also given out
// as they are in fact: most of them near each other in few blocks.
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

// blockV6 returns an address of 4096 blocks of 32 bits, most of them in few of these.
func blockV6(r *rand.Rand) netip.Addr {
	block := uint32(r.IntN(1+r.IntN(4096))) * 2654435761
	b := binary.BigEndian.AppendUint32(nil, 0x2a000000|block>>8)
	b = binary.BigEndian.AppendUint16(b, uint16(r.IntN(1+r.IntN(1<<16))))
	b = binary.BigEndian.AppendUint16(b, uint16(r.Uint32()))
	return netip.AddrFrom16([16]byte(binary.BigEndian.AppendUint64(b, r.Uint64())))
}

// subnetV6 returns an address of 16 networks of 64 bits.
func subnetV6(r *rand.Rand) netip.Addr {
	b := binary.BigEndian.AppendUint64(nil, 0x20010db8_00000000|r.Uint64N(16)<<8)
	return netip.AddrFrom16([16]byte(binary.BigEndian.AppendUint64(b, r.Uint64())))
}

func BenchmarkSet(b *testing.B) {
	const entries = 1_000_000
	for _, bench := range []struct {
		name   string
		random func(*rand.Rand) netip.Addr
		bits   int
	}{
		{"v4-addresses", randomV4, 32}, {"v4-networks", randomV4, 24}, {"v6-addresses", randomV6, 128}, {"v6-networks", randomV6, 48},
		{"v6-blocks", blockV6, 64}, {"v6-subnets", subnetV6, 128},
	} {
		r := rand.New(rand.NewPCG(1, 2))
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var builder Builder
		var hits, any [1 << 16]netip.Addr
		for i := range entries {
			a := bench.random(r)
			if i < len(hits) {
				hits[i] = a
			}
			builder.Add(netip.PrefixFrom(a, bench.bits))
		}
		s := builder.Set()
		builder = Builder{}
		runtime.GC()
		runtime.ReadMemStats(&after)
		for i := range any {
			any[i] = bench.random(r)
		}
		for _, keys := range []struct {
			name string
			list []netip.Addr
		}{{"any", any[:]}, {"hits", hits[:]}} {
			b.Run(bench.name+"/"+keys.name, func(b *testing.B) {
				b.ReportAllocs()
				found, i := 0, 0
				for b.Loop() {
					if s.Contains(keys.list[i&(len(keys.list)-1)]) {
						found++
					}
					i++
				}
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/entries, "B/entry")
				b.ReportMetric(float64(found)/float64(b.N), "found/op")
			})
		}
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
